"""Settling: the books take over, hour by hour, what billable events cost, per campaign and slot.

A Settlement row says how much of an hour's spend the books hold; settling posts the difference to the sum of events.
So a late event is settled by the next run, a second run finds nothing to do, and runs at the same time wait for one
another (the ledger's lock) and then find nothing either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from adplatform.accounts.models import Organisation
from adplatform.billing import ledger
from adplatform.billing.models import Balance, LedgerAccount, Settlement
from adplatform.billing.queries import BILLED_SOURCES, credit_limits
from adplatform.campaigns.models import Campaign
from adplatform.core import money
from adplatform.inventory.models import AdSlot

HOUR = timedelta(hours=1)
_LIST_OF_SOURCES = list(BILLED_SOURCES)

Kind = LedgerAccount.Kind


@dataclass(slots=True)
class Settled:
    """What one run of settling did. `short`: charges left alone because their advertiser's prepaid money is too little."""

    hours: int = 0
    postings: int = 0
    micros: dict[str, int] = field(default_factory=dict)  # by currency
    short: int = 0

    def add(self, drafts: Sequence[_Item], short: int) -> None:
        self.hours += bool(drafts)
        self.postings += len(drafts)
        self.short += short
        for item in drafts:
            self.micros[item.currency] = self.micros.get(item.currency, 0) + item.cost_micros

    @property
    def words(self) -> str:
        if not self.postings and not self.short:
            return "Nothing to settle."
        sums = " and ".join(
            money.format_micros(micros, currency) for currency, micros in sorted(self.micros.items())
        )
        words = f"{sums or 'Nothing'} settled in {self.postings:,} postings over {self.hours:,} hours."
        return words + (f" {self.short:,} more wait: prepaid money is short." if self.short else "")


@dataclass(frozen=True, slots=True)
class _Item:
    """What an hour's events in one slot cost one campaign beyond what the books hold; negative where events that were
    settled turned out to be invalid."""

    hour: datetime
    campaign_id: int
    slot_id: int
    advertiser_id: int
    publisher_id: int
    currency: str
    cost_micros: int
    settled_micros: int
    earned_micros: int
    postings: int

    @property
    def key(self) -> str:
        return f"settle:{self.hour.astimezone(UTC):%Y%m%dT%H}:{self.campaign_id}:{self.slot_id}:{self.postings + 1}"


def settle_hours(*, first: datetime | None, before: datetime, dry_run: bool) -> Settled:
    """Settle every whole hour of [first, before) whose events cost more, or less, than the books hold."""
    done, books = Settled(), _Books(before)
    for hour in _open_hours(first, before):
        with transaction.atomic():
            if not dry_run:
                ledger.lock_chain()
            items, short = _affordable(_items(hour))
            if not dry_run:
                _post(items, books)
        done.add(items, short)
    return done


_OPEN_HOURS = """
    SELECT DISTINCT spent.hour FROM (
        SELECT hour, campaign_id, slot_id, sum(spend_micros) AS micros FROM events_hourlystat
        WHERE hour >= %s AND hour < %s AND source = ANY(%s) GROUP BY hour, campaign_id, slot_id
    ) AS spent LEFT JOIN billing_settlement held USING (hour, campaign_id, slot_id)
    WHERE spent.micros <> coalesce(held.settled_micros, 0) ORDER BY spent.hour
"""


def _open_hours(first: datetime | None, before: datetime) -> list[datetime]:
    """Hours whose statistics, which ingest writes with the events, differ from the settlements."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_HOURS, [first or datetime(1970, 1, 1, tzinfo=UTC), before, _LIST_OF_SOURCES])
        return [row[0] for row in cursor.fetchall()]


_ITEMS = """
    SELECT cost.campaign_id, cost.slot_id, cost.advertiser_id, cost.publisher_id, cost.currency,
        (cost.micros - coalesce(held.settled_micros, 0))::bigint, coalesce(held.settled_micros, 0),
        coalesce(held.earned_micros, 0), coalesce(held.postings, 0)
    FROM (
        SELECT campaign_id, slot_id, min(advertiser_id) AS advertiser_id, min(publisher_id) AS publisher_id,
            min(currency) AS currency, sum(charge_micros) AS micros
        FROM (
            SELECT campaign_id, slot_id, advertiser_id, publisher_id, currency, charge_micros FROM events_impression
            WHERE served_at >= %(hour)s AND served_at < %(end)s AND is_billable AND charge_micros > 0 AND source = ANY(%(sources)s)
            UNION ALL
            SELECT campaign_id, slot_id, advertiser_id, publisher_id, currency, charge_micros FROM events_click
            WHERE served_at >= %(hour)s AND served_at < %(end)s AND is_billable AND charge_micros > 0 AND source = ANY(%(sources)s)
            UNION ALL
            SELECT campaign_id, slot_id, advertiser_id, publisher_id, currency, -charge_micros FROM events_invalidation
            WHERE served_at >= %(hour)s AND served_at < %(end)s AND charge_micros > 0 AND source = ANY(%(sources)s)
        ) AS charges GROUP BY campaign_id, slot_id
    ) AS cost
    LEFT JOIN billing_settlement held ON held.hour = %(hour)s AND held.campaign_id = cost.campaign_id AND held.slot_id = cost.slot_id
    WHERE cost.micros <> coalesce(held.settled_micros, 0)
    ORDER BY cost.campaign_id, cost.slot_id
"""


def _items(hour: datetime) -> list[_Item]:
    with connection.cursor() as cursor:
        cursor.execute(_ITEMS, {"hour": hour, "end": hour + HOUR, "sources": _LIST_OF_SOURCES})
        return [_Item(hour, *row) for row in cursor.fetchall()]


def _affordable(items: Sequence[_Item]) -> tuple[list[_Item], int]:
    """Those that the advertisers' prepaid money and credit cover, in order, and how many they do not."""
    limits = credit_limits({item.advertiser_id for item in items})
    rows = Balance.objects.filter(
        account__kind=Kind.PREPAID, account__owner_id__in={item.advertiser_id for item in items}
    )
    held = {
        (owner, currency): micros
        for owner, currency, micros in rows.values_list("account__owner_id", "account__currency", "micros")
    }
    paid = []
    for item in items:
        purse = item.advertiser_id, item.currency
        if held.get(purse, 0) + limits[item.advertiser_id] >= item.cost_micros:
            held[purse] = held.get(purse, 0) - item.cost_micros
            paid.append(item)
    return paid, len(items) - len(paid)


def _post(items: Sequence[_Item], books: _Books) -> None:
    if not items:
        return
    books.prepare(items)
    ledger.post_many([books.draft(item) for item in items])
    rows = [
        Settlement(
            hour=item.hour,
            campaign_id=item.campaign_id,
            slot_id=item.slot_id,
            settled_micros=item.settled_micros + item.cost_micros,
            earned_micros=item.earned_micros + books.publisher_part(item),
            postings=item.postings + 1,
        )
        for item in items
    ]
    Settlement.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["hour", "campaign_id", "slot_id"],
        update_fields=["settled_micros", "earned_micros", "postings"],
    )


class _Books:
    """Accounts, shares and names, read once per run. `at`: what is given back belongs to the day on which it is."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._accounts: dict[tuple[int | None, str, str], LedgerAccount] = {}
        self._shares: dict[int, int] = {}
        self._names: dict[tuple[str, int], str] = {}

    def prepare(self, items: Sequence[_Item]) -> None:
        wanted: set[tuple[int | None, str, str]] = set()
        for item in items:
            wanted |= {
                (item.advertiser_id, Kind.PREPAID, item.currency),
                (item.publisher_id, Kind.EARNED, item.currency),
                (None, Kind.REVENUE, item.currency),
            }
        for owner, kind, currency in sorted(wanted - self._accounts.keys(), key=str):
            account, _ = LedgerAccount.objects.get_or_create(owner_id=owner, kind=kind, currency=currency)
            self._accounts[owner, kind, currency] = account
        self._read_shares({item.publisher_id for item in items} - self._shares.keys())
        self._read_names("campaign", {item.campaign_id for item in items})
        self._read_names("slot", {item.slot_id for item in items})

    def publisher_part(self, item: _Item) -> int:
        if item.cost_micros < 0:
            # In the proportion in which it was earned, so that giving back all leaves nothing.
            left = item.settled_micros + item.cost_micros
            return item.earned_micros * left // item.settled_micros - item.earned_micros
        return money.split(item.cost_micros, self._shares[item.publisher_id])[0]

    def draft(self, item: _Item) -> ledger.Draft:
        publisher_micros = self.publisher_part(item)
        platform_micros = item.cost_micros - publisher_micros
        entries = {
            self._accounts[item.advertiser_id, Kind.PREPAID, item.currency]: -item.cost_micros,
            self._accounts[item.publisher_id, Kind.EARNED, item.currency]: publisher_micros,
            self._accounts[None, Kind.REVENUE, item.currency]: platform_micros,
        }
        campaign, slot = (
            self._names.get(("campaign", item.campaign_id), "?"),
            self._names.get(("slot", item.slot_id), "?"),
        )
        return ledger.Draft(
            key=item.key,
            kind="settle",
            entries={account: micros for account, micros in entries.items() if micros},
            effective_at=item.hour if item.cost_micros > 0 else self._at,
            memo=f"{'' if item.cost_micros > 0 else 'Invalid traffic: '}{campaign[:100]} in {slot[:70]}",
        )

    def _read_shares(self, ids: Iterable[int]) -> None:
        self._shares |= dict(Organisation.objects.filter(pk__in=ids).values_list("pk", "revenue_share_bp"))

    def _read_names(self, kind: str, ids: set[int]) -> None:
        missing = {pk for pk in ids if (kind, pk) not in self._names}
        if missing:
            rows = Campaign.objects if kind == "campaign" else AdSlot.objects
            self._names |= {
                (kind, pk): name for pk, name in rows.filter(pk__in=missing).values_list("pk", "name")
            }
