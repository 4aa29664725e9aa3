"""Hourly sums, grown in the transaction that stores the facts: of ads by creative and slot, of requests by slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import numpy as np
from django.db import connection

from . import binary, bulk
from .columns import Events, Ints, Mask, runs
from .records import KINDS, DecisionRecord, Served, TokenEvent

SUMS = (
    *("impressions", "billable_impressions", "measured", "views", "clicks", "billable_clicks", "conversions"),
    *("spend_micros", "revenue_micros"),
)
_KEY = ("hour", "creative_id", "slot_id", "source")
_OWNERS = ("advertiser_id", "publisher_id", "campaign_id", "line_item_id", "currency")
_COLUMNS = (*_KEY, *_OWNERS, *SUMS)
_HOUR_MICROSECONDS = 3_600_000_000
_COLUMN_LIST = ", ".join(_COLUMNS)
_PLACE = {name: place for place, name in enumerate(SUMS)}
# Sums arrive in a temporary table of the session: copied text costs the database a fraction of JSON.
_ARRIVING = "arriving_sums"
_ROOM = f"CREATE TEMPORARY TABLE IF NOT EXISTS {_ARRIVING} (LIKE events_hourlystat) ON COMMIT DELETE ROWS"
_ROOM_FOR_NEW = f"ALTER TABLE {_ARRIVING} ALTER id DROP NOT NULL"
_ADD = (
    f"INSERT INTO events_hourlystat ({_COLUMN_LIST}) SELECT {_COLUMN_LIST} FROM {_ARRIVING} "  # noqa: S608 - our names
    "ON CONFLICT ON CONSTRAINT one_hourly_stat DO UPDATE SET "
    + ", ".join(f"{name} = events_hourlystat.{name} + EXCLUDED.{name}" for name in SUMS)
)
_CORRECT = (
    f"UPDATE events_hourlystat AS row SET {', '.join(f'{name} = row.{name} + less.{name}' for name in SUMS)} "  # noqa: S608
    f"FROM {_ARRIVING} AS less WHERE row.hour = less.hour AND row.creative_id = less.creative_id "
    "AND row.source = less.source AND row.slot_id IS NOT DISTINCT FROM less.slot_id"
)
_FILL_COLUMNS = ("hour", "slot_id", "reason", "source", "instead", "publisher_id", "requests")

_REFUSED_COLUMNS = ("hour", "slot_id", "publisher_id", "kind", "reason", "source", "events")


class Sums:
    """Sums by hour, creative, slot and source, collected in memory and then added to the table at once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Any, ...], tuple[tuple[Any, ...], list[int]]] = {}

    def add(self, hour: datetime, served: Served | Any, source: str, **amounts: int) -> None:
        """Add to one row; `served` is anything with the ids of a served ad."""
        key = (hour, served.creative_id, served.slot_id, source)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = (_owners(served), [0] * len(SUMS))
        for name, amount in amounts.items():
            row[1][_PLACE[name]] += amount

    def write(self) -> None:
        """The caller holds the locks of the advertisers; rows go in one order."""
        self._apply(_ADD)

    def correct(self) -> None:
        """Add, to rows that are there, amounts that may be negative. Locks as for `write`."""
        self._apply(_CORRECT)

    def _apply(self, sql: str) -> None:
        if not self._rows:
            return
        keys = sorted(self._rows, key=lambda key: (key[0], key[1], key[2] or 0, key[3]))
        bulk.copy(_room(), _COLUMNS, [_line(key, *self._rows[key]) for key in keys])
        _run(sql)


def _room() -> str:
    """The name of the session's table, which is empty now."""
    _run(f"{_ROOM}; {_ROOM_FOR_NEW}; TRUNCATE {_ARRIVING}")
    return _ARRIVING


def _run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


_owners = attrgetter(*_OWNERS)


def _line(key: tuple[Any, ...], owners: tuple[Any, ...], sums: list[int]) -> str:
    hour, creative_id, slot_id, source = key
    advertiser_id, publisher_id, campaign_id, line_item_id, currency = owners
    return (
        f"{hour.isoformat()}\t{creative_id}\t{_or_null(slot_id)}\t{source}\t{advertiser_id}\t{_or_null(publisher_id)}\t"
        f"{campaign_id}\t{line_item_id}\t{currency}\t" + "\t".join(map(str, sums))
    )


def _or_null(value: object) -> object:
    return "\\N" if value is None else value


def add_counted(events: Events, places: Ints, billable: Mask, charged_micros: Ints) -> None:
    """Add the events at these places to their hours; the caller holds the locks of the advertisers."""
    if not len(places):
        return
    sources: dict[str, int] = {}
    by_source = events.by_words(
        (sources.setdefault(words.source, len(sources)) for words in events.words), np.int64
    )
    hours = events.served_at // _HOUR_MICROSECONDS
    key = (by_source, events.numbers["slot_id"], events.numbers["creative_id"], hours)
    order, starts = runs(*(column[places] for column in key))
    places = places[order]
    amounts = _amounts(events, places, billable[places], charged_micros[places])
    sums = [np.add.reduceat(amounts[name], starts) for name in SUMS]
    bulk.copy_binary(_room(), _COLUMNS, _sum_rows(events, places[starts], sums))
    _run(_ADD)


def _sum_rows(events: Events, first: Ints, sums: Sequence[Ints]) -> Iterator[bytes]:
    """Rows of _COLUMNS from the first event of each and its sums."""
    said = [(words.source, words.currency) for words in events.words]
    for source, currency in sorted(set(said)):
        has = np.array([one == (source, currency) for one in said])[events.word_of[first]]
        places = first[has]
        columns = [
            binary.moments(events.served_at[places] // _HOUR_MICROSECONDS * _HOUR_MICROSECONDS),
            *(events.numbers["creative_id"][places], events.numbers["slot_id"][places], source),
            *(events.numbers[name][places] for name in _OWNERS[:-1]),
            currency,
            *(column[has] for column in sums),
        ]
        if len(places):
            yield binary.rows(columns, len(places))


def _amounts(events: Events, places: Ints, billable: Mask, charged_micros: Ints) -> dict[str, Ints]:
    """What each of these events adds, by the name of the sum."""
    words = events.word_of[places]
    amounts = {name: np.zeros(len(places), np.int64) for name in SUMS} | {"spend_micros": charged_micros}
    for kind in KINDS:
        amounts[f"{kind}s"] = np.array([one.kind == kind for one in events.words], np.int64)[words]
    for kind in ("impression", "click"):
        amounts[f"billable_{kind}s"] = amounts[f"{kind}s"] * billable
    amounts["measured"] = np.array(
        [one.kind == "impression" and one.seen != "" for one in events.words], np.int64
    )[words]
    return amounts


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
