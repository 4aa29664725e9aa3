"""The one metrics layer: every tile, chart, table, export and API answer takes its numbers from here.

All of it is one statement over the hourly statistics, grouped by one dimension, so that any two views of the same
range add up to the same totals. An organisation sees its own side: an advertiser what it was charged, a publisher
what its slots earned; None is the platform's operator, who must name a currency before amounts may be added.

What a publisher earned is what the settlements credited to it, plus its share of what is not settled yet, by the
cell that is settled (campaign, slot, hour) and rounded as there: a settled hour equals the ledger to the micro, also
after the share was changed; the open hour is an estimate at today's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Min, QuerySet, Sum
from django.db.models.functions import TruncDate
from psycopg2 import sql

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Campaign
from adplatform.core.tenants import platform
from adplatform.events.models import FillStat, HourlyStat
from adplatform.insights.metrics import COLUMNS, Range, RangeError, Totals, change, range_from
from adplatform.inventory.models import AdSlot

__all__ = [
    "Fill",
    "Range",
    "RangeError",
    "Totals",
    "by_campaign",
    "by_category",
    "by_creative",
    "by_day",
    "by_hour",
    "by_line_item",
    "by_organisation",
    "by_site",
    "by_slot",
    "change",
    "fill",
    "fill_before",
    "fill_by_day",
    "fill_by_slot",
    "instead",
    "is_comparable",
    "range_from",
    "totals",
    "totals_before",
]

_FILTERS = (
    "campaign_id",
    "line_item_id",
    "creative_id",
    "slot_id",
    "advertiser_id",
    "publisher_id",
    "currency",
    "source",
)
_FILL_FILTERS = ("slot_id", "source")
_DIMENSIONS = {
    "all": "1",
    "day": "(hour AT TIME ZONE %(zone)s)::date",
    "hour": "hour",
    "campaign": "campaign_id",
    "line_item": "line_item_id",
    "creative": "creative_id",
    "slot": "slot_id",
    "advertiser": "advertiser_id",
    "publisher": "publisher_id",
}
# Below the campaign a publisher's cell is divided further and its rounding would no longer be the ledger's.
_ADVERTISER_ONLY = {"line_item", "creative"}

_STATEMENT = """
SELECT {key}, {sums}, sum({earned})::bigint
FROM (
    SELECT {cell}, coalesce(publisher.revenue_share_bp, 0) AS share_bp, {cell_sums}
    FROM events_hourlystat AS stat LEFT JOIN accounts_organisation AS publisher ON publisher.id = stat.publisher_id
    WHERE hour >= %(start)s AND hour < %(end)s AND {where}
    GROUP BY {cell}, publisher.revenue_share_bp
) AS cells {books}
GROUP BY 1 ORDER BY 1
"""
_EARNED = "spend_micros * share_bp / 10000"
_EARNED_AND_SETTLED = (
    "coalesce(held.earned_micros, 0) + (spend_micros - coalesce(held.settled_micros, 0)) * share_bp / 10000"
)
_BOOKS = "LEFT JOIN billing_settlement AS held USING (hour, campaign_id, slot_id)"
# A part of a cell cannot be held against the books, which know the whole of it.
_PARTIAL = {"line_item_id", "creative_id", "source"}
_SUMMED = COLUMNS[:-1]  # all but what is earned, which is computed by cell
_CELL = ("hour", "campaign_id", "slot_id", "advertiser_id", "publisher_id")


def totals(organisation: Organisation | None, range: Range, **filters: object) -> Totals:
    """Sums over the range. Filters: campaign_id, line_item_id, creative_id, slot_id, currency, source; a list means any of."""
    return _grouped("all", organisation, range, filters).get(1, Totals())


def is_comparable(organisation: Organisation | None, range: Range) -> bool:
    """Whether the numbers reach back over the whole period before: against a part of it every change would be huge."""
    rows = HourlyStat.objects.all()
    if organisation is not None:
        is_publisher = organisation.kind == Organisation.Kind.PUBLISHER
        rows = rows.filter(**{"publisher_id" if is_publisher else "advertiser_id": organisation.pk})
    first = rows.aggregate(first=Min("hour"))["first"]
    return first is not None and first.astimezone(ZoneInfo(range.zone)).date() <= range.previous().start_date


def totals_before(organisation: Organisation | None, range: Range, **filters: object) -> Totals:
    """Totals of the period before, empty where they cannot be compared with."""
    return (
        totals(organisation, range.previous(), **filters) if is_comparable(organisation, range) else Totals()
    )


def by_day(organisation: Organisation | None, range: Range, **filters: object) -> dict[date, Totals]:
    """Every day of the range in order, also the empty ones."""
    found: dict[date, Totals] = _grouped("day", organisation, range, filters)
    return {day: found.get(day, Totals()) for day in range.days()}


def by_hour(organisation: Organisation | None, range: Range, **filters: object) -> dict[datetime, Totals]:
    """Every hour of the range in order, as UTC datetimes, also the empty ones."""
    found: dict[datetime, Totals] = _grouped("hour", organisation, range, filters)
    return {hour: found.get(hour.astimezone(UTC), Totals()) for hour in range.hours()}


def by_campaign(organisation: Organisation | None, range: Range, **filters: object) -> dict[int, Totals]:
    return _grouped("campaign", organisation, range, filters)


def by_line_item(organisation: Organisation | None, range: Range, **filters: object) -> dict[int, Totals]:
    return _grouped("line_item", organisation, range, filters)


def by_creative(organisation: Organisation | None, range: Range, **filters: object) -> dict[int, Totals]:
    return _grouped("creative", organisation, range, filters)


def by_slot(organisation: Organisation | None, range: Range, **filters: object) -> dict[int, Totals]:
    """By slot id; 0 holds what has no slot (totals that were imported)."""
    return _grouped("slot", organisation, range, filters)


def by_site(organisation: Organisation | None, range: Range, **filters: object) -> dict[int, Totals]:
    slots = by_slot(organisation, range, **filters)
    with platform():  # an advertiser's ads stand on others' sites
        sites = dict(AdSlot.objects.filter(pk__in=slots).values_list("pk", "site_id"))
    return _folded(slots, lambda slot_id: sites.get(slot_id, 0))


def by_category(organisation: Organisation | None, range: Range, **filters: object) -> dict[str, Totals]:
    """By the advertised category (of the campaign); empty where a campaign names none."""
    campaigns = by_campaign(organisation, range, **filters)
    with platform():  # what a publisher's slots were filled with
        categories = dict(Campaign.objects.filter(pk__in=campaigns).values_list("pk", "category"))
    return _folded(campaigns, lambda campaign_id: categories.get(campaign_id, ""))


def by_organisation(range: Range, *, kind: str, **filters: object) -> dict[int, Totals]:
    """The operator's view: by advertiser or by publisher."""
    return _grouped(kind, None, range, filters)


Fold = TypeVar("Fold", int, str)


def _folded(parts: Mapping[int, Totals], group: Callable[[int], Fold]) -> dict[Fold, Totals]:
    folded: dict[Fold, Totals] = {}
    for key, part in parts.items():
        folded[group(key)] = folded.get(group(key), Totals()) + part
    return folded


def _grouped(
    dimension: str, organisation: Organisation | None, range: Range, filters: Mapping[str, object]
) -> dict[Any, Totals]:
    is_publisher = organisation is not None and organisation.kind == Organisation.Kind.PUBLISHER
    if is_publisher and dimension in _ADVERTISER_ONLY:
        raise ValueError("A publisher's numbers are not told apart below the campaign.")
    where, values = _where(organisation, filters)
    values |= {"start": range.start_at, "end": range.end_at, "zone": range.zone}
    with connection.cursor() as cursor:
        cursor.execute(_statement(dimension, where, whole=not _PARTIAL & filters.keys()), values)
        return {row[0] or 0: Totals(*map(int, row[1:])) for row in cursor.fetchall()}


def _statement(dimension: str, where: sql.Composable, *, whole: bool) -> sql.Composable:
    whole = whole and dimension not in _ADVERTISER_ONLY
    cell = [*_CELL, *([_DIMENSIONS[dimension]] if dimension in _ADVERTISER_ONLY else [])]
    column = sql.SQL("stat.{}")
    return sql.SQL(_STATEMENT).format(
        key=sql.SQL(_DIMENSIONS[dimension]),
        sums=sql.SQL(", ").join(sql.SQL("sum({})::bigint").format(sql.Identifier(name)) for name in _SUMMED),
        cell=sql.SQL(", ").join(column.format(sql.Identifier(name)) for name in cell),
        cell_sums=sql.SQL(", ").join(
            sql.SQL("sum(stat.{0})::bigint AS {0}").format(sql.Identifier(name)) for name in _SUMMED
        ),
        where=where,
        earned=sql.SQL(_EARNED_AND_SETTLED if whole else _EARNED),
        books=sql.SQL(_BOOKS if whole else ""),
    )


def _where(
    organisation: Organisation | None, filters: Mapping[str, object]
) -> tuple[sql.Composable, dict[str, Any]]:
    """The conditions and their values. The organisation's own side comes first and cannot be filtered away."""
    values: dict[str, Any] = {}
    conditions: list[sql.Composable] = [sql.SQL("true")]
    if organisation is not None:
        conditions.append(sql.SQL("stat.{} = %(own)s").format(sql.Identifier(f"{organisation.kind}_id")))
        values["own"] = organisation.pk
    for name, wanted in filters.items():
        if name not in _FILTERS:
            raise TypeError(f"{name} is not something statistics can be filtered by")
        many = list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
        conditions.append(sql.SQL("stat.{} = ANY(%({})s)").format(sql.Identifier(name), sql.SQL(name)))
        values[name] = many
    return sql.SQL(" AND ").join(conditions), values


@dataclass(frozen=True, slots=True)
class Fill:
    """How ad requests ended: `filled` with a paid ad, the others by reason (decision.types.NoAd)."""

    filled: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.filled + sum(self.reasons.values())

    @property
    def rate(self) -> float | None:
        return self.filled / self.requests if self.requests else None

    def parts(self) -> list[tuple[str, int, float]]:
        """(reason, requests, share), most frequent first, the paid ones under ""; the shares add up to 1."""
        counted = {"": self.filled, **self.reasons}
        total = self.requests
        return [
            (reason, n, n / total) for reason, n in sorted(counted.items(), key=lambda pair: -pair[1]) if n
        ]


def fill(publisher: Organisation | None, range: Range, **filters: object) -> Fill:
    """Ad requests of the range by outcome. Filters: slot_id, source."""
    return _fill_of(_fill_rows(publisher, range, filters).values_list("reason").annotate(n=Sum("requests")))


def fill_before(publisher: Organisation | None, range: Range, **filters: object) -> Fill:
    """Fill of the period before, empty where it cannot be compared with."""
    return fill(publisher, range.previous(), **filters) if is_comparable(publisher, range) else Fill()


def fill_by_slot(publisher: Organisation | None, range: Range, **filters: object) -> dict[int, Fill]:
    rows = _fill_rows(publisher, range, filters).values_list("slot_id", "reason").annotate(n=Sum("requests"))
    grouped: dict[int, list[tuple[str, int]]] = {}
    for slot_id, reason, requests in rows:
        grouped.setdefault(slot_id, []).append((reason, requests))
    return {slot_id: _fill_of(parts) for slot_id, parts in grouped.items()}


def fill_by_day(publisher: Organisation | None, range: Range, **filters: object) -> dict[date, Fill]:
    """Every day of the range in order, also the empty ones."""
    day = TruncDate("hour", tzinfo=ZoneInfo(range.zone))
    rows = (
        _fill_rows(publisher, range, filters)
        .annotate(day=day)
        .values_list("day", "reason")
        .annotate(n=Sum("requests"))
    )
    grouped: dict[date, list[tuple[str, int]]] = {}
    for found, reason, requests in rows:
        grouped.setdefault(found, []).append((reason, requests))
    return {day: _fill_of(grouped.get(day, [])) for day in range.days()}


def instead(publisher: Organisation | None, range: Range, **filters: object) -> dict[str, int]:
    """Ad requests of the range that got something else than a paid ad: `house:ID` or `passback`, and how many."""
    rows = _fill_rows(publisher, range, filters).exclude(instead="")
    return dict(rows.values_list("instead").annotate(n=Sum("requests")))


def _fill_rows(
    publisher: Organisation | None, range: Range, filters: Mapping[str, object]
) -> QuerySet[FillStat]:
    rows = FillStat.objects.filter(hour__gte=range.start_at, hour__lt=range.end_at)
    if publisher is not None:
        rows = rows.filter(publisher_id=publisher.pk)
    for name, wanted in filters.items():
        if name not in _FILL_FILTERS:
            raise TypeError(f"{name} is not something ad requests can be filtered by")
        many = isinstance(wanted, list | tuple | set | frozenset)
        rows = rows.filter(**{f"{name}__in" if many else name: wanted})
    return rows.order_by()


def _fill_of(parts: Iterable[tuple[str, int]]) -> Fill:
    counted = dict(parts)
    return Fill(filled=counted.pop("", 0), reasons=counted)
