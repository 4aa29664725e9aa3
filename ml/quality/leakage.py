"""Does a feature know the label? Two tests: one feature alone, and whether features move when labels are flipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ml.quality.report import Finding, Severity, Thresholds
from ml.schema import Floats, ImpressionLog, Ints

BINS = 20
NULLS = 20  # shuffles of the labels in time
MOST_ROWS = 100_000  # the newest; more do not change an AUC of 0.9
FLIP_ROWS = 4_000
FLIP_MOMENTS = 4
CLICK_SECONDS = 5.0

FeatureFunction = Callable[[ImpressionLog], Mapping[str, Floats]]


@dataclass(frozen=True)
class Alone:
    """How well one feature predicts the label by itself, on the later half of time.

    `null` is the highest AUC of the same feature against labels shifted in time.
    """

    auc: float
    ne: float
    null: float
    clicks: int


def alone(feature: Floats, label: Floats, *, seed: int = 0) -> Alone:
    """Twenty bins by quantile and one for missing values; their rates come from the earlier half of the rows.

    Rows must be in time order. Bins also see a label that hides in what is missing, or on both ends of a feature.
    Shifting the labels in time keeps their rhythm and cuts their tie with the row.
    """
    half = len(label) // 2
    bins = _binned(feature, half)
    rng = np.random.default_rng(seed)
    shifts = rng.integers(max(len(label) // 10, 1), max(len(label) - len(label) // 10, 2), NULLS)
    null = max(_judged(bins, np.roll(label, int(shift)), half)[0] for shift in shifts)
    auc, ne = _judged(bins, label, half)
    return Alone(auc, ne, null, int(label[half:].sum()))


def leaks(
    log: ImpressionLog, features: Mapping[str, Floats], limits: Thresholds, *, seed: int = 0
) -> list[Finding]:
    """A finding for each feature that alone is too good to be true, or one that says that none is."""
    order = np.argsort(log.time, kind="stable")[-MOST_ROWS:]
    label = log.clicked[order]
    measured = {name: alone(column[order], label, seed=seed) for name, column in features.items()}
    found = [finding for name, one in measured.items() if (finding := _judge(name, one, limits)) is not None]
    if found or not measured:
        return found
    best = max(measured, key=lambda name: measured[name].auc)
    words = f"No feature alone is too good to be true; the best is {best} with an AUC of {measured[best].auc:.2f}."
    figure = measured[best].auc
    return [Finding("leakage", "single features", Severity.OK, figure, limits.leak_auc_warn, words)]


def _judge(name: str, one: Alone, limits: Thresholds) -> Finding | None:
    if one.clicks < limits.leak_fewest_clicks or one.auc <= one.null or one.auc < limits.leak_auc_warn:
        leaky = one.clicks >= limits.leak_fewest_clicks and one.ne < limits.leak_ne_refuse
        if not leaky:
            return None
    details = {"auc": one.auc, "ne": one.ne, "null": one.null}
    refused = one.auc >= limits.leak_auc_refuse or one.ne <= limits.leak_ne_refuse
    severity = Severity.REFUSE if refused else Severity.WARN
    mark = limits.leak_auc_refuse if refused else limits.leak_auc_warn
    words = (
        f"{name} alone predicts clicks with an AUC of {one.auc:.3f} and a normalised entropy of {one.ne:.2f} "
        f"({one.null:.2f} with labels shifted in time): it most likely knows the label. Find out when it is written; "
        "it must be known before the ad is shown."
    )
    return Finding("leakage", name, severity, one.auc, mark, words, details)


def label_flip(build: FeatureFunction, log: ImpressionLog, *, seed: int = 0) -> list[str]:
    """Names of features that change where only labels at or after the row's own moment were flipped.

    For some moments t all labels of rows from t on are flipped, and the features of rows until t compared. What is
    returned is a proof of a leak; an empty list is one only for the rows that were tried.
    """
    rows = np.argsort(log.time, kind="stable")[-FLIP_ROWS:]
    log = log.take(rows)
    before = build(log)
    moments = np.quantile(log.time, np.linspace(0.3, 0.9, FLIP_MOMENTS), method="nearest")
    rng = np.random.default_rng(seed)
    moments[-1] = log.time[rng.integers(len(log) // 2, len(log))]
    changed: set[str] = set()
    for moment in moments.tolist():
        after = build(_flipped(log, moment))
        until = log.time <= moment
        changed |= {
            name
            for name in before
            if not np.array_equal(before[name][until], after[name][until], equal_nan=True)
        }
    return sorted(changed)


def flips(build: FeatureFunction, log: ImpressionLog) -> list[Finding]:
    """The label-flip test as a finding."""
    if len(log) == 0:
        return []
    changed = label_flip(build, log)
    severity = Severity.REFUSE if changed else Severity.OK
    words = (
        f"The features {', '.join(changed)} change with labels that were not known yet: nothing trained on them is "
        "worth anything. Mend the feature function."
        if changed
        else "No feature moves when labels that were not known yet are flipped."
    )
    return [Finding("leakage", "label flip", severity, float(len(changed)), 1.0, words)]


def _flipped(log: ImpressionLog, moment: float) -> ImpressionLog:
    later = log.time >= moment
    clicks = np.where(
        later, np.where(np.isnan(log.click_time), log.time + CLICK_SECONDS, np.nan), log.click_time
    )
    return replace(log, click_time=clicks)


def _binned(feature: Floats, half: int) -> Ints:
    known = feature[:half][np.isfinite(feature[:half])]
    edges: Sequence[float] | Floats = (
        np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else []
    )
    bins = np.searchsorted(edges, feature, side="left") + 1
    return np.where(np.isfinite(feature), bins, 0).astype(np.int64)


def _judged(bins: Ints, label: Floats, half: int) -> tuple[float, float]:
    """(AUC, normalised entropy) on the later half by the earlier half's rates."""
    size = int(bins.max()) + 1
    rate = label[:half].mean() if half else 0.0
    seen = np.bincount(bins[:half], minlength=size)
    p = (np.bincount(bins[:half], label[:half], minlength=size) + rate) / (seen + 1)
    shown = np.bincount(bins[half:], minlength=size).astype(np.float64)
    clicks = np.bincount(bins[half:], label[half:], minlength=size).astype(np.float64)
    return _auc(p, clicks, shown - clicks), _ne(p, clicks, shown)


def _auc(p: Floats, hits: Floats, misses: Floats) -> float:
    if not hits.sum() or not misses.sum():
        return 0.5
    _, level = np.unique(p, return_inverse=True)
    won, lost = np.bincount(level, hits), np.bincount(level, misses)
    below = np.cumsum(lost) - lost
    return float((won * (below + lost / 2)).sum() / (won.sum() * lost.sum()))


def _ne(p: Floats, clicks: Floats, shown: Floats) -> float:
    mean = clicks.sum() / shown.sum() if shown.sum() else 0.0
    if not 0 < mean < 1:
        return 1.0
    p = np.clip(p, 1e-6, 1 - 1e-6)
    loss = -(clicks * np.log(p) + (shown - clicks) * np.log(1 - p)).sum() / shown.sum()
    return float(loss / -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)))
