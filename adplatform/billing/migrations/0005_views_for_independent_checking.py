"""What an independent checker reads: entries, accounts with the balance the platform believes in, and facts."""

from django.db import migrations

VIEWS = """
CREATE VIEW audit_entry AS
    SELECT e.posting_id, e.account_id, e.currency, e.micros, p.posted_at AS created_at,
        p.key AS posting_key, p.kind AS posting_kind, p.effective_at
    FROM billing_entry e JOIN billing_posting p ON p.id = e.posting_id;

CREATE VIEW audit_account AS
    SELECT a.id, coalesce(o.name, 'Platform') AS owner, a.currency, coalesce(b.micros, 0) AS balance_micros, a.kind
    FROM billing_ledgeraccount a
    LEFT JOIN billing_balance b ON b.account_id = a.id
    LEFT JOIN accounts_organisation o ON o.id = a.owner_id;

CREATE VIEW audit_event AS
    SELECT 'i:' || decision_id AS event_id, 'impression' AS kind, decision_id, campaign_id, advertiser_id,
        is_billable AS billable, reason, charge_micros, served_at, source FROM events_impression
    UNION ALL
    SELECT 'v:' || decision_id, 'view', decision_id, campaign_id, advertiser_id,
        is_billable, reason, charge_micros, served_at, source FROM events_view
    UNION ALL
    SELECT 'c:' || decision_id, 'click', decision_id, campaign_id, advertiser_id,
        is_billable, reason, charge_micros, served_at, source FROM events_click
    UNION ALL
    SELECT 'x:' || c.action_id || ':' || c.event_id, 'conversion', c.decision_id, c.campaign_id, a.organisation_id,
        false, 'conversions_cost_nothing', 0, c.occurred_at, c.source
    FROM events_conversion c JOIN events_conversionaction a ON a.id = c.action_id;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0004_facts_are_append_only"),
        ("accounts", "0001_initial"),
    ]

    operations = [migrations.RunSQL(VIEWS, "DROP VIEW audit_event; DROP VIEW audit_account; DROP VIEW audit_entry;")]
