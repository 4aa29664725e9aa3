"""Hourly sums, grown in the transaction that stores the facts: of ads by creative and slot, of requests by slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from . import bulk
from .records import DecisionRecord, Served, TokenEvent

SUMS = (
    *("impressions", "billable_impressions", "measured", "views", "clicks", "billable_clicks", "conversions"),
    *("spend_micros", "revenue_micros"),
)
_KEY = ("hour", "creative_id", "slot_id", "source")
_OWNERS = ("advertiser_id", "publisher_id", "campaign_id", "line_item_id", "currency")
_COLUMNS = (*_KEY, *_OWNERS, *SUMS)
_ADD = (
    "INSERT INTO events_hourlystat ({columns}) SELECT {columns} FROM json_populate_recordset("
    "NULL::events_hourlystat, %s) ON CONFLICT ON CONSTRAINT one_hourly_stat DO UPDATE SET {sums}"
)
_CORRECT = (
    f"UPDATE events_hourlystat AS row SET {', '.join(f'{name} = row.{name} + less.{name}' for name in SUMS)} "  # noqa: S608
    "FROM (SELECT {columns} FROM json_populate_recordset(NULL::events_hourlystat, %s)) AS less "
    "WHERE row.hour = less.hour AND row.creative_id = less.creative_id AND row.source = less.source "
    "AND row.slot_id IS NOT DISTINCT FROM less.slot_id"
)
_FILL_COLUMNS = ("hour", "slot_id", "reason", "source", "instead", "publisher_id", "requests")

_REFUSED_COLUMNS = ("hour", "slot_id", "publisher_id", "kind", "reason", "source", "events")


class Sums:
    """Sums by hour, creative, slot and source, collected in memory and then added to the table at once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], dict[str, Any]] = {}

    def add(self, hour: datetime, served: Served | Any, source: str, **amounts: int) -> None:
        """Add to one row; `served` is anything with the ids of a served ad."""
        key = (hour, served.creative_id, served.slot_id, source)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = dict(zip(_KEY, key, strict=True)) | dict.fromkeys(SUMS, 0)
            row.update((name, getattr(served, name)) for name in _OWNERS)
        for name, amount in amounts.items():
            row[name] += amount

    def write(self) -> None:
        """The caller holds the locks of the advertisers; rows go in one order."""
        rows: Iterable[Mapping[str, Any]] = (self._rows[key] for key in sorted(self._rows, key=str))
        sums = ", ".join(f"{name} = events_hourlystat.{name} + EXCLUDED.{name}" for name in SUMS)
        bulk.execute(
            _ADD.replace("{sums}", sums),
            _COLUMNS,
            rows,
        )

    def correct(self) -> None:
        """Add, to rows that are there, amounts that may be negative. Locks as for `write`."""
        rows: Iterable[Mapping[str, Any]] = (self._rows[key] for key in sorted(self._rows, key=str))
        bulk.execute(_CORRECT, (*_KEY, *SUMS), rows)


def add_fill(decisions: Iterable[DecisionRecord]) -> None:
    """Count ad requests by slot, hour and how they ended. Tests do not count."""
    counted = Counter(
        (
            *(hour_of(record.served_at), record.slot_id, record.no_ad, record.source),
            *(record.instead, record.publisher_id),
        )
        for record in decisions
        if record.ordinal == 0 and record.source != "test"
    )
    bulk.execute(
        "INSERT INTO events_fillstat ({columns}) SELECT {columns} FROM json_populate_recordset("
        "NULL::events_fillstat, %s) ON CONFLICT ON CONSTRAINT one_fill_stat "
        "DO UPDATE SET requests = events_fillstat.requests + EXCLUDED.requests",
        _FILL_COLUMNS,
        (dict(zip(_FILL_COLUMNS, (*key, count), strict=True)) for key, count in sorted(counted.items())),
    )


def add_refused(refused: Iterable[tuple[TokenEvent, str]]) -> None:
    """Count requests that became no event of their own, by slot, hour of serving and reason. Tests do not count."""
    counted = Counter(
        (
            *(hour_of(event.served.served_at), event.served.slot_id, event.served.publisher_id),
            *(event.kind, str(reason), event.served.source),
        )
        for event, reason in refused
        if event.served.source != "test"
    )
    bulk.execute(
        "INSERT INTO events_refusedstat ({columns}) SELECT {columns} FROM json_populate_recordset("
        "NULL::events_refusedstat, %s) ON CONFLICT ON CONSTRAINT one_refused_stat "
        "DO UPDATE SET events = events_refusedstat.events + EXCLUDED.events",
        _REFUSED_COLUMNS,
        (dict(zip(_REFUSED_COLUMNS, (*key, count), strict=True)) for key, count in sorted(counted.items())),
    )


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
