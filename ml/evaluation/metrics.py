"""What a click model is judged by. Every function takes weights, so that rows may be aggregates.

A row with `impressions` and `clicks` is the pair label = clicks / impressions, weight = impressions:
all figures then equal those of the single impressions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml.schema import Column, Floats

CERTAIN = 1e-12  # probabilities are kept this far from 0 and 1
STRONG_Z = 2.58  # two-sided 1 %
ECE_BINS = 20


def log_loss(p: Floats, y: Floats, weight: Floats | None = None) -> float:
    """Mean of −y·ln p − (1−y)·ln(1−p), in nats per impression."""
    return float(np.average(row_losses(p, y), weights=weight))


def normalised_entropy(p: Floats, y: Floats, weight: Floats | None = None) -> float:
    """Log loss over that of the constant base rate of the same rows; below 1 is better than knowing the rate.

    He et al. 2014, "Practical lessons from predicting clicks on ads at Facebook". NaN without both labels.
    """
    rate = float(np.average(y, weights=weight))
    if not 0 < rate < 1:
        return float("nan")
    return log_loss(p, y, weight) / float(-(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


def auc(p: Floats, y: Floats, weight: Floats | None = None) -> float:
    """Chance that a click scores above a non-click, ties half. NaN without both labels."""
    p = np.asarray(p, dtype=np.float64)
    weight = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=np.float64)
    _, place = np.unique(p, return_inverse=True)
    positive = np.bincount(place, weights=weight * y)
    negative = np.bincount(place, weights=weight * (1 - y))
    total = positive.sum() * negative.sum()
    if total <= 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / total)


def calibration_ratio(p: Floats, y: Floats, weight: Floats | None = None) -> float:
    """Predicted clicks over clicks that came; 1 is right, above 1 promises too much."""
    clicks = float(np.average(y, weights=weight))
    return float(np.average(p, weights=weight)) / clicks if clicks > 0 else float("nan")


def expected_calibration_error(
    p: Floats, y: Floats, weight: Floats | None = None, *, bins: int = ECE_BINS
) -> float:
    """Mean distance between predicted and observed rate over bins that hold equal shares of impressions."""
    p = np.asarray(p, dtype=np.float64)
    weight = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    share = np.cumsum(weight[order]) - weight[order] / 2
    place = np.minimum((share / weight.sum() * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, weights=(weight * (p - y))[order], minlength=bins)
    return float(np.abs(gap).sum() / weight.sum())


def precision_recall(
    p: Floats, y: Floats, weight: Floats | None = None, *, threshold: float | None = None
) -> tuple[float, float]:
    """Precision and recall of "will click" at a threshold; by default as many are called as clicked."""
    weight = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=np.float64)
    if threshold is None:
        rate = float(np.average(y, weights=weight))
        order = np.argsort(-p, kind="stable")
        called = np.zeros(len(p), dtype=bool)
        called[order[np.cumsum(weight[order]) - weight[order] < rate * weight.sum()]] = True
    else:
        called = np.asarray(p) >= threshold
    hits = float((weight * y)[called].sum())
    everything_called, clicks = float(weight[called].sum()), float((weight * y).sum())
    return (
        hits / everything_called if everything_called else float("nan"),
        hits / clicks if clicks else float("nan"),
    )


def summary(p: Floats, y: Floats, weight: Floats | None = None) -> dict[str, float]:
    """The figures of a model card: ne, log_loss, auc, calibration, ece, precision, recall, rows, clicks."""
    precision, recall = precision_recall(p, y, weight)
    weight = np.ones(len(p)) if weight is None else weight
    return {
        "ne": normalised_entropy(p, y, weight),
        "log_loss": log_loss(p, y, weight),
        "auc": auc(p, y, weight),
        "calibration": calibration_ratio(p, y, weight),
        "ece": expected_calibration_error(p, y, weight),
        "precision": precision,
        "recall": recall,
        "rows": float(len(p)),
        "clicks": float((weight * y).sum()),
    }


def pairwise_accuracy(
    score: Floats, clicks: Floats, impressions: Floats, group: Column, *, least_z: float = 0.0
) -> tuple[float, int]:
    """Share of pairs inside a test whose better arm scores higher, and the number of pairs.

    Ties in the score count half; pairs of equal rate, or with |z| of the two-proportion test at or below
    `least_z`, are left out.
    """
    right, pairs = 0.0, 0
    for rows in _groups(group):
        first, second = np.triu_indices(len(rows), k=1)
        a, b = rows[first], rows[second]
        gap = clicks[a] / impressions[a] - clicks[b] / impressions[b]
        kept = (gap != 0) & (np.abs(_z(clicks, impressions, a, b)) > least_z)
        agreement = np.sign(gap[kept]) * np.sign(score[a] - score[b])[kept]
        right += float((agreement > 0).sum() + 0.5 * (agreement == 0).sum())
        pairs += int(kept.sum())
    return (right / pairs if pairs else float("nan")), pairs


def bootstrap_interval(
    statistic: Callable[[Column], float],
    cluster: Column,
    *,
    rounds: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of statistic(rows), drawing whole clusters (visitors, tests) with replacement."""
    members = list(_groups(cluster))
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(rounds):
        chosen = rng.integers(0, len(members), len(members))
        draws.append(statistic(np.concatenate([members[index] for index in chosen])))
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(
    values: Floats,
    cluster: Column,
    weight: Floats | None = None,
    *,
    rounds: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(mean, low, high) of a weighted mean, drawing whole clusters: the fast form for differences of losses."""
    weight = np.ones(len(values)) if weight is None else weight
    _, code = np.unique(cluster, return_inverse=True)
    total, mass = np.bincount(code, weights=values * weight), np.bincount(code, weights=weight)
    rng = np.random.default_rng(seed)
    means = np.empty(rounds)
    for draw in range(rounds):
        times = np.bincount(rng.integers(0, len(mass), len(mass)), minlength=len(mass))
        means[draw] = (total * times).sum() / (mass * times).sum()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(total.sum() / mass.sum()), float(low), float(high)


def row_losses(p: Floats, y: Floats) -> Floats:
    """The log loss of each row."""
    p = np.clip(np.asarray(p, dtype=np.float64), CERTAIN, 1 - CERTAIN)
    losses: Floats = -(y * np.log(p) + (1 - y) * np.log1p(-p))
    return losses


def _groups(group: Column) -> list[Column]:
    """Row positions of each group, in order of first position within the sorted keys."""
    _, code = np.unique(group, return_inverse=True)
    order = np.argsort(code, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


def _z(clicks: Floats, impressions: Floats, a: Column, b: Column) -> Floats:
    pooled = (clicks[a] + clicks[b]) / (impressions[a] + impressions[b])
    spread = np.sqrt(pooled * (1 - pooled) * (1 / impressions[a] + 1 / impressions[b]))
    gap = clicks[a] / impressions[a] - clicks[b] / impressions[b]
    z: Floats = np.divide(gap, spread, out=np.zeros(len(gap)), where=spread > 0)
    return z
