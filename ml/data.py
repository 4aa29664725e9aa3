"""Which rows of a log may be learned from: the rest is counted by reason, never silently used."""

from __future__ import annotations

import numpy as np

from ml.schema import ImpressionLog, Mask

Reasons = dict[str, int]


def usable_rows(log: ImpressionLog) -> tuple[Mask, Reasons]:
    """(mask of usable rows, how many were refused by reason); a row is counted under its first reason.

    no_time: its time is not a number. click_before_impression: the log contradicts itself. duplicate: the same
    visitor, creative and slot at the same instant; the first row stays. Rows without visitor are never duplicates.
    """
    checks = (
        ("no_time", ~np.isfinite(log.time)),
        ("click_before_impression", log.click_time < log.time),
        ("duplicate", repeated(log)),
    )
    usable = np.ones(len(log), dtype=bool)
    reasons: Reasons = {}
    for reason, refused in checks:
        count = int((refused & usable).sum())
        if count:
            reasons[reason] = count
        usable &= ~refused
    return usable, reasons


def repeated(log: ImpressionLog) -> Mask:
    """Rows that say the same visitor, creative, slot and moment as an earlier row; none without a visitor."""
    seen: set[tuple[object, ...]] = set()
    repeated = np.zeros(len(log), dtype=bool)
    columns = (log.time, log.visitor, log.creative, log.slot)
    for row, key in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if key[1] in {None, ""}:
            continue
        repeated[row] = key in seen
        seen.add(key)
    return repeated
