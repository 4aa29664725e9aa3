"""The statistics as they were known at each row of a log.

A row sees what happened strictly before its time: impressions served earlier, clicks that had arrived. Its own
label, and everything at or after its moment, cannot reach it.
"""

from __future__ import annotations

import math
from itertools import chain

import numpy as np

from ml.ctr.counters import Keys, Raw, Statistics
from ml.schema import Floats, ImpressionLog


def replay(
    log: ImpressionLog, *, statistics: Statistics | None = None, text_score: Floats | None = None
) -> dict[str, Floats]:
    """Raw columns (names of features.RAW) for each row of the log, in the log's own order.

    `statistics` continues from an earlier state, and holds the state after the last event when this returns.
    """
    known = statistics if statistics is not None else Statistics()
    seen: list[tuple[float, ...]] = []
    keys = _keys(log)
    by_time = np.argsort(log.time, kind="stable").tolist()
    times = log.time.tolist()
    clicks = _clicks_in_order(log)
    arrived = 0
    start = 0
    while start < len(by_time):
        now = times[by_time[start]]
        end = start
        while arrived < len(clicks) and clicks[arrived][0] < now:
            known.observe_click(keys[clicks[arrived][1]], clicks[arrived][0])
            arrived += 1
        while end < len(by_time) and times[by_time[end]] == now:
            seen.append(known.numbers(keys[by_time[end]], now))
            end += 1
        for row in by_time[start:end]:
            known.observe_impression(keys[row], now)
        start = end
    for arrival, row in clicks[arrived:]:
        known.observe_click(keys[row], arrival)
    columns = _columns(seen, by_time)
    columns.update({name: np.asarray(column, dtype=np.float64) for name, column in log.context.items()})
    columns["text_score"] = np.full(len(log), np.nan) if text_score is None else text_score
    return columns


def _keys(log: ImpressionLog) -> list[Keys]:
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


def _clicks_in_order(log: ImpressionLog) -> list[tuple[float, int]]:
    """(arrival, row) of every click; a click cannot arrive before its impression."""
    rows = np.flatnonzero(~np.isnan(log.click_time))
    arrival = np.maximum(log.click_time[rows], log.time[rows])
    order = np.lexsort((log.time[rows], arrival))
    return list(zip(arrival[order].tolist(), rows[order].tolist(), strict=True))


def _columns(seen: list[tuple[float, ...]], rows: list[int]) -> dict[str, Floats]:
    """The i-th element of `seen` belongs to rows[i]."""
    width = len(Raw._fields)
    numbers = np.fromiter(chain.from_iterable(seen), dtype=np.float64, count=len(seen) * width)
    table = np.empty((len(seen), width))
    table[rows] = numbers.reshape(len(seen), width)
    return {name: table[:, index] for index, name in enumerate(Raw._fields)}
