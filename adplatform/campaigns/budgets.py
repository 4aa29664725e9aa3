"""Charging campaigns: what is billed never exceeds the day's budget, the flight's budget, or the prepaid money.

A campaign has one Budget row per day (in its organisation's zone) and one for the flight; both record what was
spent even where no budget is set (`UNLIMITED`), so that a budget set later starts from the truth. An advertiser has
one Purse. `charge` locks these rows in one fixed order, decides in the order of the events, and writes the sums:
it is called within the transaction that stores the events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q

from .models import Budget, Campaign, Purse
from .stretches import REMEMBERED_SECONDS, stretch_of

UNLIMITED = 2**62
_PURSE_AGE = timedelta(minutes=1)  # after which the books are read again even where money is left

# What the books let each advertiser spend in all: prepaid balance + what has been settled from it.
Granted = Callable[[Collection[int]], Mapping[int, int]]


class Refusal(StrEnum):
    """Why a charge was refused."""

    BUDGET_SPENT = "budget_spent"
    NO_MONEY = "no_money"


@dataclass(frozen=True, slots=True)
class Charge:
    """What one event owes, or many of a campaign that were served in one stretch. It counts on the day of its serve time."""

    campaign_id: int
    advertiser_id: int
    served_at: datetime
    micros: int


@dataclass(frozen=True, slots=True)
class Left:
    """What a campaign may still be charged, by its own budgets, and the smaller of those. `recent_micros`: what of the
    ads served lately was charged already, and so is not in `left_micros` any more (campaigns.Budget)."""

    campaign_id: int
    organisation_id: int
    left_micros: int
    size_micros: int
    recent_micros: Sequence[int] = ()


@dataclass(slots=True)
class _Account:
    """A locked row: what is spent, the limit, what this call adds, and of a flight the charges by stretch."""

    pk: int
    limit_micros: int
    spent_micros: int
    added_micros: int = 0
    recent: dict[int, int] = field(default_factory=dict)

    def has(self, micros: int) -> bool:
        return self.spent_micros + self.added_micros + micros <= self.limit_micros


def charge(charges: Sequence[Charge], *, granted: Granted, at: datetime) -> list[Refusal | None]:
    """Decide each charge in order: None where it was charged, else why not. Inside a transaction only."""
    return _charged(charges, _decided, granted=granted, at=at)


def charge_sums(sums: Sequence[Charge], *, granted: Granted, at: datetime) -> list[bool]:
    """Charge sums of many events where all that is asked of an account here fits, so that their order does not matter;
    False for the others, which are not charged: `charge` decides their events in order."""
    return [refusal is None for refusal in _charged(sums, _fitting, granted=granted, at=at)]


def _charged(
    charges: Sequence[Charge], decide: _Decider, *, granted: Granted, at: datetime
) -> list[Refusal | None]:
    if not charges:
        return []
    days = _days(charges)
    budgets = _locked_budgets({(item.campaign_id, day) for item, day in zip(charges, days, strict=True)})
    purses = _locked_purses({item.advertiser_id for item in charges}, granted=granted, at=at)
    accounts = [
        (budgets[item.campaign_id, day], budgets[item.campaign_id, None], purses[item.advertiser_id])
        for item, day in zip(charges, days, strict=True)
    ]
    verdicts = decide(charges, accounts)
    _remember(charges, verdicts, budgets, at)
    _write_budgets(budgets.values())
    _write_purses(purse.account for purse in purses.values())
    return verdicts


def lefts(*, at: datetime) -> list[Left]:
    """Of every running campaign: the least of its day's and its flight's budget, less what was charged."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFTS, {"at": at, "unlimited": UNLIMITED, "since": _since(at)})
        return [Left(*row) for row in cursor.fetchall()]


_LEFTS = """
SELECT campaign.id, campaign.organisation_id,
       GREATEST(0, LEAST(
           COALESCE(day.amount_micros - day.spent_micros, campaign.daily_budget_micros, %(unlimited)s),
           COALESCE(flight.amount_micros - flight.spent_micros, campaign.flight_budget_micros, %(unlimited)s))),
       LEAST(COALESCE(day.amount_micros, campaign.daily_budget_micros, %(unlimited)s),
             COALESCE(flight.amount_micros, campaign.flight_budget_micros, %(unlimited)s)),
       CASE WHEN flight.recent_micros[cardinality(flight.recent_micros) - 1] >= %(since)s
            THEN flight.recent_micros ELSE '{}' END
FROM campaigns_campaign AS campaign
JOIN accounts_organisation AS owner ON owner.id = campaign.organisation_id
LEFT JOIN campaigns_budget AS day
     ON day.campaign_id = campaign.id AND day.date = (%(at)s AT TIME ZONE owner.time_zone)::date
LEFT JOIN campaigns_budget AS flight ON flight.campaign_id = campaign.id AND flight.date IS NULL
WHERE campaign.status = 'active' AND campaign.source IN ('live', 'demo') AND owner.is_active
  AND (campaign.end_at IS NULL OR campaign.end_at > %(at)s)
"""


def give_back(charges: Sequence[Charge]) -> None:
    """Take charges of invalid events off their day, their flight and their purse. Inside a transaction only."""
    if not charges:
        return
    days = _days(charges)
    budgets = _locked_budgets({(item.campaign_id, day) for item, day in zip(charges, days, strict=True)})
    rows = _select_purses({item.advertiser_id for item in charges})
    purses = {row.organisation_id: _Account(row.pk, 0, row.spent_micros) for row in rows}
    for item, day in zip(charges, days, strict=True):
        for account in (
            budgets[item.campaign_id, day],
            budgets[item.campaign_id, None],
            purses[item.advertiser_id],
        ):
            account.added_micros -= item.micros
    _write_budgets(budgets.values())
    _write_purses(purses.values())


def sync(*, at: datetime, campaign_ids: Collection[int] | None = None) -> int:
    """Carry edited budgets into today's and the flights' rows; returns how many changed. None: all campaigns."""
    with connection.cursor() as cursor:
        ids = None if campaign_ids is None else list(campaign_ids)
        cursor.execute(_SYNC, {"at": at, "unlimited": UNLIMITED, "ids": ids})
        return int(cursor.rowcount)


# A row of another day than today's stands. Rows are locked in the order of `charge`, and only those that change.
_SYNC = """
WITH changed AS (
    SELECT row.id, wanted.micros FROM campaigns_budget AS row
    JOIN campaigns_campaign AS campaign ON campaign.id = row.campaign_id
    JOIN accounts_organisation AS owner ON owner.id = campaign.organisation_id
    CROSS JOIN LATERAL (SELECT COALESCE(
        CASE WHEN row.date IS NULL THEN campaign.flight_budget_micros ELSE campaign.daily_budget_micros END,
        %(unlimited)s) AS micros) AS wanted
    WHERE (row.date IS NULL OR row.date = (%(at)s AT TIME ZONE owner.time_zone)::date)
      AND row.amount_micros <> wanted.micros
      AND (%(ids)s::bigint[] IS NULL OR row.campaign_id = ANY(%(ids)s::bigint[]))
    ORDER BY row.campaign_id, row.date
    FOR NO KEY UPDATE OF row
)
UPDATE campaigns_budget AS row SET amount_micros = changed.micros FROM changed WHERE row.id = changed.id
"""


def day_of(moment: datetime, time_zone: str) -> date:
    """The day of a budget: the calendar day in the organisation's zone."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def _limit(budget_micros: int | None) -> int:
    return UNLIMITED if budget_micros is None else budget_micros


def _days(charges: Sequence[Charge]) -> list[date]:
    ids = {item.campaign_id for item in charges}
    zones = dict(Campaign.objects.filter(pk__in=ids).values_list("pk", "organisation__time_zone"))
    days: dict[tuple[str, int], date] = {}
    found = []
    for item in charges:
        # Zones differ from one another by whole quarters of an hour: within one it is everywhere the same day.
        zone, quarter = zones[item.campaign_id], int(item.served_at.timestamp()) // 900
        if (day := days.get((zone, quarter))) is None:
            day = days[zone, quarter] = day_of(item.served_at, zone)
        found.append(day)
    return found


def _decided(charges: Sequence[Charge], accounts: Sequence[_Accounts]) -> list[Refusal | None]:
    """Each in order, with what those before it left."""
    return [_decide(item, *of) for item, of in zip(charges, accounts, strict=True)]


def _fitting(charges: Sequence[Charge], accounts: Sequence[_Accounts]) -> list[Refusal | None]:
    """Only those whose accounts can pay for everything that is asked of them."""
    asked: dict[int, int] = defaultdict(int)
    for item, of in zip(charges, accounts, strict=True):
        for one in of:
            asked[id(one)] += item.micros
    short = {id(one) for of in accounts for one in of if not one.has(asked[id(one)])}
    return [
        Refusal.BUDGET_SPENT if any(id(one) in short for one in of) else _decide(item, *of)
        for item, of in zip(charges, accounts, strict=True)
    ]


def _decide(item: Charge, day: _Account, flight: _Account, purse: _Purse) -> Refusal | None:
    if not (day.has(item.micros) and flight.has(item.micros)):
        return Refusal.BUDGET_SPENT
    if not purse.has(item.micros):
        return Refusal.NO_MONEY
    for account in (day, flight, purse.account):
        account.added_micros += item.micros
    return None


def _remember(
    charges: Sequence[Charge],
    verdicts: Sequence[Refusal | None],
    budgets: Mapping[tuple[int, date | None], _Account],
    at: datetime,
) -> None:
    """Add what was charged to its stretch; the row of the flight keeps those of a minute."""
    for item, verdict in zip(charges, verdicts, strict=True):
        if verdict is None:
            recent, stretch = (
                budgets[item.campaign_id, None].recent,
                stretch_of(item.served_at.timestamp()),
            )
            recent[stretch] = recent.get(stretch, 0) + item.micros
    since = _since(at)
    for account in budgets.values():
        account.recent = {stretch: micros for stretch, micros in account.recent.items() if stretch >= since}


def _since(at: datetime) -> int:
    return round(1000 * (at.timestamp() - REMEMBERED_SECONDS))


def _locked_budgets(days: set[tuple[int, date]]) -> dict[tuple[int, date | None], _Account]:
    """The rows of these campaigns' days and flights, made where they are missing, locked in order."""
    keys: set[tuple[int, date | None]] = {*days, *((campaign_id, None) for campaign_id, _ in days)}
    found = _select_budgets(keys)
    if missing := keys - found.keys():
        _create_budgets(missing)
        found = _select_budgets(keys)
    return found


def _select_budgets(keys: set[tuple[int, date | None]]) -> dict[tuple[int, date | None], _Account]:
    dates = {day for _, day in keys if day is not None}
    rows = Budget.objects.select_for_update(no_key=True).filter(
        Q(date__in=dates) | Q(date__isnull=True), campaign_id__in={campaign_id for campaign_id, _ in keys}
    )
    values = rows.order_by("campaign_id", "date").values_list(
        "campaign_id", "date", "pk", "amount_micros", "spent_micros", "recent_micros"
    )
    return {
        (campaign_id, day): _Account(pk, amount, spent, 0, dict(zip(recent[::2], recent[1::2], strict=True)))
        for campaign_id, day, pk, amount, spent, recent in values
    }


def _create_budgets(keys: set[tuple[int, date | None]]) -> None:
    campaigns = Campaign.objects.in_bulk({campaign_id for campaign_id, _ in keys})
    rows = []
    for campaign_id, day in sorted(keys, key=lambda key: (key[0], key[1] or date.max)):
        campaign = campaigns[campaign_id]
        budget = campaign.flight_budget_micros if day is None else campaign.daily_budget_micros
        rows.append(Budget(campaign=campaign, date=day, amount_micros=_limit(budget)))
    Budget.objects.bulk_create(rows, ignore_conflicts=True)


@dataclass(slots=True)
class _Purse:
    """A locked purse that reads the books again, once, when it runs short."""

    advertiser_id: int
    account: _Account
    granted: Granted
    is_fresh: bool

    def has(self, micros: int) -> bool:
        if not self.account.has(micros) and not self.is_fresh:
            self.refresh()
        return self.account.has(micros)

    def refresh(self) -> None:
        self.account.limit_micros = self.granted([self.advertiser_id]).get(self.advertiser_id, 0)
        self.is_fresh = True


_Accounts = tuple[_Account, _Account, _Purse]  # of one charge: its day, its flight, its advertiser's purse
_Decider = Callable[[Sequence[Charge], Sequence[_Accounts]], list[Refusal | None]]


def _locked_purses(ids: set[int], *, granted: Granted, at: datetime) -> dict[int, _Purse]:
    rows = _select_purses(ids)
    if missing := ids - {row.organisation_id for row in rows}:
        Purse.objects.bulk_create(
            [Purse(organisation_id=pk) for pk in sorted(missing)], ignore_conflicts=True
        )
        rows = _select_purses(ids)
    stale = [
        row.organisation_id for row in rows if row.granted_at is None or abs(at - row.granted_at) > _PURSE_AGE
    ]
    fresh = granted(stale) if stale else {}
    for row in rows:
        if row.organisation_id in stale:
            row.granted_micros, row.granted_at = fresh.get(row.organisation_id, 0), at
    Purse.objects.bulk_update(
        [row for row in rows if row.organisation_id in stale], ["granted_micros", "granted_at"]
    )
    return {
        row.organisation_id: _Purse(
            row.organisation_id,
            _Account(row.pk, row.granted_micros, row.spent_micros),
            granted,
            is_fresh=row.organisation_id in stale,
        )
        for row in rows
    }


def _select_purses(ids: set[int]) -> list[Purse]:
    rows = Purse.objects.select_for_update(no_key=True).filter(organisation_id__in=ids)
    return list(rows.order_by("organisation_id"))


_SPEND_BUDGETS = """
UPDATE campaigns_budget AS row
SET spent_micros = row.spent_micros + added.micros, recent_micros = added.recent::bigint[]
FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS added(id, micros, recent) WHERE row.id = added.id
"""
_SPEND_PURSES = """
UPDATE campaigns_purse AS row SET spent_micros = row.spent_micros + added.micros
FROM unnest(%s::bigint[], %s::bigint[]) AS added(id, micros) WHERE row.id = added.id
"""


def _write_budgets(accounts: Iterable[_Account]) -> None:
    if touched := [account for account in accounts if account.added_micros]:
        recent = [_as_array(account.recent) for account in touched]
        with connection.cursor() as cursor:
            cursor.execute(_SPEND_BUDGETS, [*_ids_and_micros(touched), recent])


def _write_purses(accounts: Iterable[_Account]) -> None:
    if touched := [account for account in accounts if account.added_micros]:
        with connection.cursor() as cursor:
            cursor.execute(_SPEND_PURSES, _ids_and_micros(touched))


def _ids_and_micros(touched: Sequence[_Account]) -> list[list[int]]:
    return [[account.pk for account in touched], [account.added_micros for account in touched]]


def _as_array(recent: Mapping[int, int]) -> str:
    """As PostgreSQL writes an array: the stretches in order, each before its micros."""
    pairs = (f"{stretch},{micros}" for stretch, micros in sorted(recent.items()))
    return f"{{{','.join(pairs)}}}"
