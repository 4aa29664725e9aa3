"""Rows that contradict themselves: repeats, impossible times, keys and fields that are missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.data import repeated
from ml.quality.bounds import has_visitor, independent
from ml.quality.report import Finding, Severity, Thresholds, graded, share
from ml.schema import Column, Floats, ImpressionLog, Mask

Flights = Mapping[object, tuple[float, float]]
KEYS = ("creative", "line_item", "slot")


def duplicates(log: ImpressionLog, limits: Thresholds) -> list[Finding]:
    """Rows that say the same as an earlier one."""
    count = int(repeated(log).sum())
    figure = share(count, len(log))
    severity, mark = graded(figure, warn=limits.duplicates_warn, refuse=limits.duplicates_refuse)
    words = (
        "No row repeats another."
        if count == 0
        else f"{count:,} of {len(log):,} rows repeat the same visitor, creative, slot and moment. Training leaves them "
        "out; look for an import that ran twice or a tag that sends twice."
    )
    return [Finding("duplicates", "rows", severity, figure, mark, words, {"rows": float(count)})]


def impossible_times(
    log: ImpressionLog, *, at: float | None, flights: Flights, limits: Thresholds
) -> list[Finding]:
    """Rows from the future, clicks before their impression, times that are no numbers, and impressions off flight."""
    future = np.zeros(len(log), bool) if at is None else log.time > at + limits.clock_seconds
    causes = {
        "no time": ~np.isfinite(log.time),
        "in the future": future,
        "clicked before it was shown": log.click_time < log.time,
    }
    wrong = np.logical_or.reduce(list(causes.values()))
    figure = share(wrong.sum(), len(log))
    severity, mark = graded(figure, warn=limits.impossible_warn, refuse=limits.impossible_refuse)
    told = ", ".join(f"{int(rows.sum()):,} {name}" for name, rows in causes.items() if rows.any())
    words = (
        f"{int(wrong.sum()):,} of {len(log):,} rows have impossible times ({told}). Compare the servers' clocks and "
        "the time zone of what was imported."
        if told
        else "Every row has a possible time."
    )
    details = {name: float(rows.sum()) for name, rows in causes.items()}
    return [
        Finding("impossible times", "rows", severity, figure, mark, words, details),
        *_off_flight(log, flights, limits),
    ]


def _off_flight(log: ImpressionLog, flights: Flights, limits: Thresholds) -> list[Finding]:
    if not flights:
        return []
    items, row = np.unique(log.line_item, return_inverse=True)
    everywhen = (-np.inf, np.inf)
    spans = np.array([flights.get(item, everywhen) for item in items.tolist()]).reshape(-1, 2)[row]
    off = (log.time < spans[:, 0] - limits.clock_seconds) | (log.time > spans[:, 1] + limits.clock_seconds)
    figure = share(off.sum(), len(log))
    severity, mark = graded(figure, warn=limits.off_flight_warn)
    words = (
        "Every impression lies in the flight of its campaign."
        if not off.any()
        else f"{int(off.sum()):,} impressions lie outside the flight of their campaign: either a flight was edited "
        "afterwards, or ads serve that should not."
    )
    return [Finding("impossible times", "flights", severity, figure, mark, words, {"rows": float(off.sum())})]


def missing(log: ImpressionLog, newest: Mask, limits: Thresholds) -> list[Finding]:
    """Keys that every row needs, and how much more is missing of each field on the newest day than before."""
    found = [_missing_key(name, getattr(log, name), limits) for name in KEYS]
    fields: dict[str, Floats] = {"visitor": np.where(has_visitor(log.visitor), 0.0, np.nan), **log.context}
    enough = min(independent(log, newest), independent(log, ~newest))
    noise = 3.5 * 0.5 / max(enough, 1) ** 0.5  # 3.5 standard errors of a share at its widest
    return found + [_missing_field(name, column, newest, noise, limits) for name, column in fields.items()]


def _missing_key(name: str, column: Column, limits: Thresholds) -> Finding:
    empty = ~has_visitor(column)
    figure = share(empty.sum(), len(column))
    severity, mark = graded(figure, refuse=limits.missing_key_refuse)
    label = name.replace("_", " ")
    words = (
        f"Every row names its {label}."
        if not empty.any()
        else f"{int(empty.sum()):,} rows name no {label}: nothing can be learned from them; mend the export."
    )
    return Finding("missing values", label, severity, figure, mark, words)


def _missing_field(name: str, column: Floats, newest: Mask, noise: float, limits: Thresholds) -> Finding:
    gone = np.isnan(column)
    now, before = share(gone[newest].sum(), newest.sum()), share(gone[~newest].sum(), (~newest).sum())
    rise = now - before
    severity, mark = graded(
        rise, warn=max(limits.missing_rise_warn, noise), alarm=max(limits.missing_rise_alarm, noise)
    )
    label = name.replace("_", " ")
    words = f"{label}: missing in {now:.1%} of the newest day's rows, {before:.1%} before."
    if severity is not Severity.OK:
        words += " Something stopped sending it: look at the tag, the consent banner and the latest release."
    return Finding("missing values", label, severity, now, mark, words, {"before": before, "rise": rise})
