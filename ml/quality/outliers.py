"""Numbers far from the rest, and ads or places whose click rate is beyond what the others have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.quality.bounds import binomial_bounds
from ml.quality.report import Finding, Severity, Thresholds, graded, listed, share
from ml.schema import Floats, ImpressionLog, Mask

ENTITIES = ("creative", "line_item", "slot")
FEWEST_DISTINCT = 20  # with fewer values a column is a code, and its rare values are no outliers


def far_out(column: Floats, limits: Thresholds) -> Mask:
    """Values far from the median by robust z, or by quartiles where half of the values are equal. NaN is not far."""
    known = column[np.isfinite(column)]
    if len(np.unique(known)) < FEWEST_DISTINCT:
        return np.zeros(len(column), bool)
    middle = np.median(known)
    deviation = 1.4826 * np.median(np.abs(known - middle))
    far: Mask
    with np.errstate(invalid="ignore"):
        if deviation > 0:
            far = np.abs(column - middle) / deviation > limits.outlier_z
            return far
        low, high = np.quantile(known, (0.25, 0.75))
        reach = limits.outlier_iqr * (high - low)
        far = ((column < low - reach) | (column > high + reach)) & (reach > 0)
        return far


def outliers(log: ImpressionLog, columns: Mapping[str, Floats], limits: Thresholds) -> list[Finding]:
    """Numeric columns (those given, and the log of the seconds from impression to click), then click rates."""
    delay = np.log1p(np.maximum(log.click_time - log.time, 0.0))
    found = [
        _column(name, column, limits) for name, column in {"seconds to the click": delay, **columns}.items()
    ]
    return found + [_rates(log, name, limits) for name in ENTITIES]


def _column(name: str, column: Floats, limits: Thresholds) -> Finding:
    known = np.isfinite(column)
    far = far_out(column, limits)
    figure = share(far.sum(), known.sum())
    severity, mark = graded(figure, warn=limits.outlier_share_warn)
    words = f"{name}: {int(far.sum()):,} of {int(known.sum()):,} values are far from the rest"
    if severity is Severity.OK:
        words += "."
    else:
        words += f", up to {np.nanmax(np.abs(column[far])):,.6g}. Look at its unit and at what is imported."
    return Finding("outliers", name, severity, figure, mark, words, {"rows": float(far.sum())})


def _rates(log: ImpressionLog, name: str, limits: Thresholds) -> Finding:
    """Click rates by entity: exact intervals beyond a multiple of the overall rate, above and below."""
    label = name.replace("_", " ")
    keys, group = np.unique(getattr(log, name).astype(str), return_inverse=True)
    shown, clicks = np.bincount(group), np.bincount(group, log.clicked)
    low, high = binomial_bounds(clicks, shown, alpha=limits.alpha / max(len(keys), 1))
    rate = share(clicks.sum(), shown.sum())
    hot, dead = keys[low > rate * limits.entity_ctr_times], keys[high < rate / limits.entity_ctr_times]
    count = len(hot) + len(dead)
    severity = Severity.WARN if count else Severity.OK
    words = f"Click rates by {label} lie within {limits.entity_ctr_times:g} times of each other's mean."
    if count:
        parts = []
        if len(hot):
            parts.append(f"far more clicks than the others: {listed(hot, most=3)}")
        if len(dead):
            parts.append(
                f"almost none: {listed(dead, most=3)} (is its link or its click address broken, or is it never seen?)"
            )
        words = f"Click rates by {label}: {'; '.join(parts)}."
    details = {"far above": float(len(hot)), "far below": float(len(dead))}
    return Finding("outliers", f"click rate by {label}", severity, float(count), 1.0, words, details)
