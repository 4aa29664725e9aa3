"""Which rows belong to whom: every table of the database, and what the application's role may do with it.

The portal and the management API run as `adplatform_app` for one organisation (core.tenants). For them a table is one of
three kinds, and a new model is named here before it is used (tests/architecture/test_every_table_has_its_wall.py):

TENANTS   rows belong to an organisation, by a column of their own or through a parent; policies let its own rows through
SHARED    everybody's to read: categories, rates of tax
PLATFORM  the platform's own; the application's role may not touch them at all

`db_roles` turns this into grants and policies (core.policies). A condition may ask other tables of TENANTS: their policies
hold inside it, so that a creative is seen exactly where its line item is.
"""

from __future__ import annotations

from dataclasses import dataclass

# Set for one transaction (core.tenants); nobody's where they are not set. As sub-selects they are computed once a query.
TENANT = "(SELECT nullif(current_setting('adplatform.tenant', true), '')::bigint)"
PERSON = "(SELECT nullif(current_setting('adplatform.person', true), '')::bigint)"

READS = frozenset({"SELECT"})
APPENDS = frozenset({"SELECT", "INSERT"})
EDITS = frozenset({"SELECT", "INSERT", "UPDATE"})
CHANGES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wall:
    """What the application's role may do with a table's rows: `reads` says which it sees, `changes` which it may write."""

    table: str
    reads: str
    changes: str
    may: frozenset[str]


def own(table: str, column: str = "organisation_id", *, may: frozenset[str] = CHANGES) -> Wall:
    """The table names the organisation itself."""
    condition = f"{table}.{column} = {TENANT}"
    return Wall(table, condition, condition, may)


def below(table: str, column: str, parent: str, *, may: frozenset[str] = CHANGES) -> Wall:
    """Rows belong to whom the parent's row belongs to."""
    condition = _seen(parent, f"{table}.{column}")
    return Wall(table, condition, condition, may)


def both_sides(table: str) -> Wall:
    """Facts and sums of an ad on a page: its advertiser and the publisher read them, nobody writes them."""
    condition = f"{table}.advertiser_id = {TENANT} OR {table}.publisher_id = {TENANT}"
    return Wall(table, condition, "false", READS)


def other(table: str, reads: str, changes: str = "false", *, may: frozenset[str] = READS) -> Wall:
    """Where who sees is more than who owns."""
    return Wall(table, reads, changes, may)


def _seen(parent: str, value: str, column: str = "id") -> str:
    return f"EXISTS (SELECT 1 FROM {parent} AS parent WHERE parent.{column} = {value})"  # noqa: S608 - our names


_ORGANISATION = "accounts_organisation.id"
_OWN_SUGGESTION = "learning_categorysuggestion.kind = '{kind}' AND {seen}"
_SUGGESTED = "learning_categorysuggestion.object_id"

TENANTS = {
    wall.table: wall
    for wall in (
        # Its own, those that its person may switch to, and whom a publisher named in its rules.
        other(
            "accounts_organisation",
            f"{_ORGANISATION} = {TENANT}"
            f" OR {_seen('accounts_membership', _ORGANISATION, 'organisation_id')}"
            f" OR {_seen('inventory_blockrule', _ORGANISATION, 'advertiser_id')}"
            f" OR {_seen('inventory_competingpair', _ORGANISATION, 'first_id')}"
            f" OR {_seen('inventory_competingpair', _ORGANISATION, 'second_id')}",
            f"{_ORGANISATION} = {TENANT}",
            may=frozenset({"SELECT", "UPDATE"}),
        ),
        other(
            "accounts_membership",
            f"accounts_membership.organisation_id = {TENANT} OR accounts_membership.user_id = {PERSON}",
            f"accounts_membership.organisation_id = {TENANT}",
            may=CHANGES,
        ),
        # Oneself, colleagues, and who did something in the organisation (an operator who reviewed its ad).
        other(
            "accounts_user",
            f"accounts_user.id = {PERSON} OR {_seen('accounts_membership', 'accounts_user.id', 'user_id')}"
            f" OR {_seen('accounts_auditentry', 'accounts_user.id', 'user_id')}",
        ),
        own("accounts_apikey", may=EDITS),
        own("accounts_auditentry", may=APPENDS),
        own("inventory_site", "publisher_id"),
        below("inventory_adslot", "site_id", "inventory_site"),
        own("inventory_blockrule", "publisher_id"),
        own("inventory_floorrule", "publisher_id"),
        own("inventory_housead", "publisher_id"),
        own("inventory_competingpair", "publisher_id"),
        own("audience_segment", may=READS),
        below("audience_segment_visitors", "segment_id", "audience_segment", may=READS),
        own("campaigns_campaign"),
        below("campaigns_lineitem", "campaign_id", "campaigns_campaign"),
        below("campaigns_creative", "line_item_id", "campaigns_lineitem"),
        own("campaigns_advertisercap"),
        below("campaigns_budget", "campaign_id", "campaigns_campaign", may=EDITS),
        own("campaigns_purse", may=READS),
        below("bidding_pace", "campaign_id", "campaigns_campaign", may=READS),
        both_sides("events_addecision"),
        both_sides("events_impression"),
        both_sides("events_view"),
        both_sides("events_click"),
        both_sides("events_invalidation"),
        both_sides("events_feedback"),
        both_sides("events_hourlystat"),
        both_sides("events_dailystat"),
        own("events_refusedstat", "publisher_id", may=READS),
        own("events_fillstat", "publisher_id", may=READS),
        own("events_deliveryhour", "advertiser_id", may=READS),
        own("events_conversionaction"),
        other(
            "events_conversion",
            f"{_seen('events_conversionaction', 'events_conversion.action_id')}"
            f" OR events_conversion.publisher_id = {TENANT}",
            _seen("events_conversionaction", "events_conversion.action_id"),
            may=APPENDS,
        ),
        below("events_adjustment", "action_id", "events_conversionaction", may=APPENDS),
        own("events_credit", "advertiser_id", may=READS),
        own("billing_ledgeraccount", "owner_id", may=READS),
        below("billing_entry", "account_id", "billing_ledgeraccount", may=READS),
        below("billing_balance", "account_id", "billing_ledgeraccount", may=READS),
        other("billing_posting", _seen("billing_entry", "billing_posting.id", "posting_id")),
        other(
            "billing_settlement",
            f"{_seen('campaigns_campaign', 'billing_settlement.campaign_id')}"
            f" OR {_seen('inventory_adslot', 'billing_settlement.slot_id')}",
        ),
        own("billing_payment", may=EDITS),
        own("billing_hold", may=READS),
        below("billing_refund", "payment_id", "billing_payment", may=READS),
        own("billing_proposal", may=NOTHING),
        own("billing_creditlimit", may=READS),
        own("billing_lowbalance", may=READS),
        own("billing_billingprofile", may=EDITS),
        own("billing_invoice", may=READS),
        below("billing_invoiceline", "invoice_id", "billing_invoice", may=READS),
        own("billing_payee", may=EDITS),
        own("billing_payout", may=READS),
        other("billing_payoutbatch", _seen("billing_payout", "billing_payoutbatch.id", "batch_id")),
        below("learning_similarads", "creative_id", "campaigns_creative", may=READS),
        below("learning_creativerating", "creative_id", "campaigns_creative", may=NOTHING),
        below("learning_influence", "line_item_id", "campaigns_lineitem", may=READS),
        other(
            "learning_categorysuggestion",
            _OWN_SUGGESTION.format(kind="campaign", seen=_seen("campaigns_campaign", _SUGGESTED))
            + " OR "
            + _OWN_SUGGESTION.format(kind="site", seen=_seen("inventory_site", _SUGGESTED)),
        ),
    )
}

SHARED = {
    "audience_erasure": "hashes that name nobody without a key, asked before a conversion is stored",
    "billing_taxrate": "rates of countries",
    "inventory_category": "the categories that everybody chooses from",
    "inventory_categorylink": "how near categories are",
    "learning_categorybenchmark": "sums over enough advertisers that nobody is recognised in",
    "learning_modelversion": "which model a decision was made by",
}

_PEOPLE = "about people, read while they sign in and never inside a tenant"
_VISITORS = "about visitors, who belong to no organisation"
_MACHINERY = "the platform's own machinery"
_MODELS = "models learned from everybody's facts"
_OPERATORS = "operators' work"
PLATFORM = {
    "account_emailaddress": _PEOPLE,
    "account_emailconfirmation": _PEOPLE,
    "accounts_user_groups": _PEOPLE,
    "accounts_user_user_permissions": _PEOPLE,
    "mfa_authenticator": _PEOPLE,
    "django_session": _PEOPLE,
    "auth_group": _PEOPLE,
    "auth_group_permissions": _PEOPLE,
    "auth_permission": _PEOPLE,
    "audience_visitor": _VISITORS,
    "audience_consent": _VISITORS,
    "audience_behaviour": _VISITORS,
    "learning_pick": _VISITORS,
    "learning_visitorvector": _VISITORS,
    "django_admin_log": _OPERATORS,
    "campaigns_annotationtask": _OPERATORS,
    "campaigns_annotationitem": _OPERATORS,
    "campaigns_annotation": _OPERATORS,
    "campaigns_operatorrule": _OPERATORS,
    "billing_gatewayevent": "a gateway's messages, which come without a tenant",
    "campaigns_leaseepoch": _MACHINERY,
    "core_outbox": "added to with every change, read by the publisher process alone",
    "demo_demoday": _MACHINERY,
    "django_celery_beat_clockedschedule": _MACHINERY,
    "django_celery_beat_crontabschedule": _MACHINERY,
    "django_celery_beat_intervalschedule": _MACHINERY,
    "django_celery_beat_periodictask": _MACHINERY,
    "django_celery_beat_periodictasks": _MACHINERY,
    "django_celery_beat_solarschedule": _MACHINERY,
    "django_content_type": _MACHINERY,
    "django_migrations": _MACHINERY,
    "events_tallyreport": _MACHINERY,
    "jobs_job": _MACHINERY,
    "jobs_jobrun": _MACHINERY,
    "learning_shadowprediction": _MODELS,
    "learning_trainingrun": _MODELS,
    "learning_searchrun": _MODELS,
    "learning_searchtrial": _MODELS,
    "learning_datareport": _MODELS,
    "learning_ratingmodel": _MODELS,
    "learning_enginefit": _MODELS,
    "learning_belieffit": _MODELS,
    "learning_textvector": _MODELS,
}
# Written without being read: of the new row nothing but its number comes back.
WRITTEN = {"core_outbox": "id"}


def may(table: str) -> frozenset[str]:
    """What the application's role may do with a whole table; nothing with one that is not named here."""
    if table in TENANTS:
        return TENANTS[table].may
    if table in WRITTEN:
        return frozenset({"INSERT"})
    return READS if table in SHARED else NOTHING
