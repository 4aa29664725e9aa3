"""What the books say: balances, what advertisers may still spend, statements in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db import connection
from django.db.models import F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from adplatform.accounts.models import Organisation
from adplatform.billing.models import Balance, CreditLimit, LedgerAccount
from adplatform.campaigns.models import Campaign
from adplatform.events.models import HourlyStat
from adplatform.inventory.models import AdSlot

# Facts of these sources cost money; tests and imported data sets never do.
BILLED_SOURCES = ("live", "demo")

Kind = LedgerAccount.Kind


@dataclass(frozen=True, slots=True)
class StatementLine:
    """What one day brought to an account for one reason; `balance_micros` is the account's balance after it."""

    day: date
    words: str
    micros: int
    balance_micros: int
    currency: str


def balance(account: LedgerAccount) -> int:
    """Micros in the account."""
    return Balance.objects.filter(account=account).values_list("micros", flat=True).first() or 0


def prepaid_balance(organisation: Organisation) -> int:
    """An advertiser's money in the books. Spend of the running hour is not taken off yet: see `available`."""
    return _own(organisation, Kind.PREPAID)[0]


def due_balance(organisation: Organisation) -> int:
    """What an advertiser owes of invoices, as a negative number."""
    return _own(organisation, Kind.DUE)[0]


def held_balance(organisation: Organisation) -> int:
    """What of an advertiser's money is set aside."""
    return _own(organisation, Kind.HELD)[0]


def earned_balance(organisation: Organisation) -> int:
    """What a publisher is owed."""
    return _own(organisation, Kind.EARNED)[0]


def unsettled_spend(organisation: Organisation) -> int:
    """What an advertiser was charged for that no posting holds yet."""
    rows = HourlyStat.objects.filter(advertiser_id=organisation.pk, source__in=BILLED_SOURCES)
    charged = rows.aggregate(micros=Sum("spend_micros"))["micros"] or 0
    return int(charged) + _own(organisation, Kind.PREPAID)[1]


def available(organisation: Organisation) -> int:
    """What an advertiser can still spend: the balance less what is charged and not yet settled, and its credit."""
    return (
        prepaid_balance(organisation)
        - unsettled_spend(organisation)
        + credit_limits([organisation.pk])[organisation.pk]
    )


def credit_limits(organisation_ids: Collection[int]) -> Mapping[int, int]:
    """How far below zero each advertiser's prepaid money may go: its newest limit, 0 for those without."""
    rows = CreditLimit.objects.filter(organisation__in=organisation_ids).order_by("pk")
    newest = dict(rows.values_list("organisation_id", "micros"))
    return {pk: newest.get(pk, 0) for pk in organisation_ids}


def granted(organisation_ids: Collection[int]) -> Mapping[int, int]:
    """How much each advertiser may be charged in all, ever: what it paid in, less refunds, plus credits
    and its credit limit. Who has neither is not named.

    Balance + settled is read from one row, so that a settlement in between changes nothing.
    """
    own = Balance.objects.filter(
        account__owner=OuterRef("pk"), account__kind=Kind.PREPAID, account__currency=OuterRef("currency")
    )
    limits = CreditLimit.objects.filter(organisation=OuterRef("pk")).order_by("-pk")
    rows = Organisation.objects.filter(pk__in=organisation_ids).annotate(
        paid=Subquery(own.values(paid=F("micros") - F("settled_micros"))),
        lent=Coalesce(Subquery(limits.values("micros")[:1]), 0),
    )
    return {
        pk: (paid or 0) + lent
        for pk, paid, lent in rows.values_list("pk", "paid", "lent")
        if paid is not None or lent
    }


def part_of(posting_id: int, kind: str) -> int:
    """What a posting moved in accounts of that kind."""
    return (
        LedgerAccount.objects.filter(kind=kind, entries__posting_id=posting_id).aggregate(
            micros=Sum("entries__micros")
        )["micros"]
        or 0
    )


def statement(
    account: LedgerAccount, *, start: datetime, end: datetime, time_zone: str = "UTC"
) -> list[StatementLine]:
    """The account's lines by day of that zone, oldest first: an advertiser's settlements by campaign, a publisher's by
    slot, everything else posting by posting."""
    opening, rows = _opening_balance(account, start), _lines(account, start, end, time_zone)
    names = _names(account, {row["subject"] for row in rows if row["subject"] is not None})
    lines = []
    for row in rows:
        opening += row["micros"]
        words = names.get(row["subject"], row["memo"]) if row["subject"] is not None else row["memo"]
        lines.append(StatementLine(row["day"], words, row["micros"], opening, account.currency))
    return lines


def _own(organisation: Organisation, kind: str) -> tuple[int, int]:
    """(balance, part of it that settlements moved) in the organisation's currency."""
    rows = Balance.objects.filter(
        account__owner=organisation, account__kind=kind, account__currency=organisation.currency
    )
    return rows.values_list("micros", "settled_micros").first() or (0, 0)


def _opening_balance(account: LedgerAccount, start: datetime) -> int:
    before = account.entries.filter(posting__effective_at__lt=start)
    return before.aggregate(micros=Sum("micros"))["micros"] or 0


# A settlement's key is settle:HOUR:CAMPAIGN:SLOT:N; the wanted part names what the line is about.
_LINES = """
    SELECT (p.effective_at AT TIME ZONE %(zone)s)::date AS day,
        CASE WHEN p.kind = 'settle' THEN split_part(p.key, ':', %(part)s)::bigint END AS subject,
        CASE WHEN p.kind = 'settle' THEN '' ELSE p.memo END AS memo,
        sum(e.micros)::bigint AS micros
    FROM billing_entry e JOIN billing_posting p ON p.id = e.posting_id
    WHERE e.account_id = %(account)s AND p.effective_at >= %(start)s AND p.effective_at < %(end)s
    GROUP BY day, subject, 3, CASE WHEN p.kind = 'settle' THEN 0 ELSE p.id END
    ORDER BY day, min(p.id)
"""


def _lines(account: LedgerAccount, start: datetime, end: datetime, time_zone: str) -> list[dict[str, Any]]:
    part = 4 if account.kind == Kind.EARNED else 3
    values: dict[str, Any] = {
        "zone": time_zone,
        "part": part,
        "account": account.pk,
        "start": start,
        "end": end,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LINES, values)
        return [
            dict(zip(("day", "subject", "memo", "micros"), row, strict=True)) for row in cursor.fetchall()
        ]


def _names(account: LedgerAccount, ids: Collection[int]) -> dict[int, str]:
    if account.kind == Kind.EARNED:
        slots = AdSlot.objects.filter(pk__in=ids).select_related("site")
        return {slot.pk: f"Ads in {slot.name} on {slot.site.name}" for slot in slots}
    return {
        pk: f"Ads of {name}" for pk, name in Campaign.objects.filter(pk__in=ids).values_list("pk", "name")
    }
