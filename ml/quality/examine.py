"""One look at a log before anything is learned from it: every check, one report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.ctr.features import NAMES as FEATURES
from ml.ctr.features import build
from ml.ctr.replay import replay
from ml.data import usable_rows
from ml.quality import balance, bots, drift, leakage, outliers, rows
from ml.quality.bounds import independent
from ml.quality.report import Finding, Report, Thresholds
from ml.quality.rows import Flights
from ml.schema import Floats, ImpressionLog, Mask

DAY_SECONDS = 86_400.0
REFERENCE_DAYS = 14.0
# The weekday of one day differs from those of a window by construction; all others of the context should not move.
UNJUDGED_CONTEXT = frozenset({"weekday"})


def feature_columns(log: ImpressionLog, raw: Mapping[str, Floats] | None = None) -> dict[str, Floats]:
    """The blender's features by name as training makes them; `raw` is a replay of the log where there is one."""
    matrix = build(replay(log) if raw is None else raw)
    return {name: matrix[:, index].astype(np.float64) for index, name in enumerate(FEATURES)}


def examine(
    log: ImpressionLog,
    *,
    at: float | None = None,
    raw: Mapping[str, Floats] | None = None,
    covered: Mapping[str, Mask] | None = None,
    columns: Mapping[str, Floats] | None = None,
    flights: Flights | None = None,
    limits: Thresholds | None = None,
) -> Report:
    """The report of a log as it stood at `at` (seconds; nothing may be later).

    `raw`: the replay of the log, if it was made already. `covered`: masks of rows that have something (a text). `columns`:
    further numbers of each row to look for outliers in. `flights`: (start, end) in seconds by line item.
    """
    limits = limits or Thresholds()
    if len(log) == 0:
        return Report(0, ())
    usable, _ = usable_rows(log)
    newest, reference = windows(log.time, usable)
    found = [
        *rows.duplicates(log, limits),
        *rows.impossible_times(log, at=at, flights=flights or {}, limits=limits),
        *rows.missing(log, newest, limits),
        *balance.class_balance(log, limits),
        *balance.rate_change(log, newest, reference, limits),
        *balance.coverage(log, covered or {}, newest, limits),
        *bots.bots(log, limits),
        *outliers.outliers(log, columns or {}, limits),
    ]
    if usable.any():
        known = log.take(usable)
        columns = feature_columns(
            known, None if raw is None else {name: column[usable] for name, column in raw.items()}
        )
        found += leakage.leaks(known, columns, limits) + leakage.flips(feature_columns, known)
        found += _drifts(known, columns, newest[usable], reference[usable], limits)
    return Report(len(log), tuple(found))


def windows(time: Floats, usable: Mask) -> tuple[Mask, Mask]:
    """The 24 hours that end with the newest usable row, and the fortnight before them."""
    if not usable.any():
        return np.zeros(len(time), bool), np.zeros(len(time), bool)
    age = time[usable].max() - time
    newest: Mask = usable & (age < DAY_SECONDS)
    reference: Mask = usable & (age >= DAY_SECONDS) & (age < DAY_SECONDS * (1 + REFERENCE_DAYS))
    return newest, reference


def _drifts(
    log: ImpressionLog, columns: Mapping[str, Floats], newest: Mask, reference: Mask, limits: Thresholds
) -> list[Finding]:
    """Context and places are judged. Features made of live statistics move with what is known: shown, not judged."""
    if not newest.any() or not reference.any():
        return []
    context = {"slot": drift.codes(log.slot), **log.context}
    judged = frozenset(context) - UNJUDGED_CONTEXT
    every = {**context, **{name: column for name, column in columns.items() if name not in context}}
    return drift.drift(
        {name: column for name, column in every.items() if np.isfinite(column).any()},
        newest,
        reference,
        independent=(independent(log, reference), independent(log, newest)),
        limits=limits,
        judged=judged,
    )
