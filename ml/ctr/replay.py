"""The statistics as they were known at each row of a log.

A row sees what happened strictly before its time: impressions served earlier, clicks that had arrived, and what was
found invalid by then only as far as it is not found yet. Its own label, and everything at or after its moment, cannot
reach it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import numpy as np

from ml.ctr.counters import Keys, Raw, Statistics
from ml.schema import Floats, ImpressionLog, Withdrawn


class _Event(NamedTuple):
    """Something that happens beside the log's impressions, at `moment`; `at` is the moment that it is counted for."""

    moment: float
    then: float  # of events at one moment the one of the earlier impression goes first
    happen: Callable[[Keys, float], object]
    keys: Keys
    at: float


def replay(
    log: ImpressionLog, *, statistics: Statistics | None = None, text_score: Floats | None = None
) -> dict[str, Floats]:
    """Raw columns (names of features.RAW) for each row of the log, in the log's own order.

    `statistics` continues from an earlier state, and holds the state after the last event when this returns.
    """
    known = statistics if statistics is not None else Statistics()
    seen: list[tuple[float, ...]] = []
    keys = _keys(log)
    events = _events(log, keys, known)
    by_time = np.argsort(log.time, kind="stable").tolist()
    times = log.time.tolist()
    arrived = 0
    start = 0
    while start < len(by_time):
        now = times[by_time[start]]
        end = start
        while arrived < len(events) and events[arrived].moment < now:
            events[arrived].happen(events[arrived].keys, events[arrived].at)
            arrived += 1
        while end < len(by_time) and times[by_time[end]] == now:
            seen.append(known.numbers(keys[by_time[end]], now))
            end += 1
        for row in by_time[start:end]:
            known.observe_impression(keys[row], now)
        start = end
    for event in events[arrived:]:
        event.happen(event.keys, event.at)
    columns = _columns(seen, by_time)
    columns.update({name: np.asarray(column, dtype=np.float64) for name, column in log.context.items()})
    columns["text_score"] = np.full(len(log), np.nan) if text_score is None else text_score
    return columns


def _keys(log: ImpressionLog | Withdrawn) -> list[Keys]:
    columns = [
        [None] * len(log) if (column := getattr(log, name)) is None else column.tolist()
        for name in Keys._fields[:-1]
    ]
    visitors = [_identifier(visitor) for visitor in log.visitor.tolist()]
    return list(map(Keys, *columns, visitors))


def _identifier(visitor: object) -> object | None:
    """None for the ways in which a column says "no visitor": None, an empty text, NaN."""
    is_nan = isinstance(visitor, float) and math.isnan(visitor)
    return None if visitor is None or visitor == "" or is_nan else visitor


def _events(log: ImpressionLog, keys: list[Keys], known: Statistics) -> list[_Event]:
    """Clicks, and what was withdrawn, in the order in which they happened. A click cannot arrive before its impression."""
    rows = np.flatnonzero(~np.isnan(log.click_time))
    arrival = np.maximum(log.click_time[rows], log.time[rows]).tolist()
    events = [
        _Event(at, served, known.observe_click, keys[row], at)
        for row, at, served in zip(rows.tolist(), arrival, log.time[rows].tolist(), strict=True)
    ]
    if log.withdrawn is not None:
        events += _withdrawn(log.withdrawn, known)
    return sorted(events, key=lambda event: event[:2])


def _withdrawn(withdrawn: Withdrawn, known: Statistics) -> list[_Event]:
    """Each was counted at its time and taken out when it was found."""
    events = []
    moments = zip(
        withdrawn.time.tolist(), withdrawn.found_at.tolist(), withdrawn.is_click.tolist(), strict=True
    )
    for keys, (at, found_at, is_click) in zip(_keys(withdrawn), moments, strict=True):
        count = known.observe_click if is_click else known.observe_impression
        take_out = known.withdraw_click if is_click else known.withdraw_impression
        events += [_Event(at, at, count, keys, at), _Event(max(at, found_at), at, take_out, keys, at)]
    return events


def _columns(seen: list[tuple[float, ...]], rows: list[int]) -> dict[str, Floats]:
    """The i-th element of `seen` belongs to rows[i]."""
    width = len(Raw._fields)
    numbers = np.fromiter(chain.from_iterable(seen), dtype=np.float64, count=len(seen) * width)
    table = np.empty((len(seen), width))
    table[rows] = numbers.reshape(len(seen), width)
    return {name: table[:, index] for index, name in enumerate(Raw._fields)}
