"""The level of predictions over time: how far the click rate has moved since the model was fitted.

A shift on the log odds, from clicks that came against clicks expected, where older ones fade. How fast they fade,
and whether there is a shift at all, is decided by log loss on rows that the model was not fitted on.
"""

from __future__ import annotations

import numpy as np

from ml.evaluation.metrics import row_losses
from ml.schema import Floats, Ints
from ml.table.asof import fading_sums
from ml.table.reading import Rows
from ml.table.walk import release_times

MEMORIES = (
    100.0,
    300.0,
    1_000.0,
    3_000.0,
    10_000.0,
    30_000.0,
    100_000.0,
)  # expected clicks until the weight has fallen to 1/e
PRIOR_CLICKS = 20.0


def best_memory(p: Floats, rows: Rows, held: Ints) -> float | None:
    """The memory whose level, followed over the held rows, gives the least log loss there; None for no level.

    `p` are predictions for all rows. The first half of the held rows only warms the level up.
    """
    if rows.time is None:
        return None
    ordered = held[np.argsort(rows.time[held], kind="stable")]
    judged = ordered[len(ordered) // 2 :]

    def loss(predicted: Floats) -> float:
        return float(
            np.average(row_losses(predicted[judged], rows.rate[judged]), weights=rows.weight[judged])
        )

    losses = {memory: loss(follow(p, rows, held, held, memory=memory)) for memory in MEMORIES}
    best = min(losses, key=lambda memory: losses[memory])
    return best if losses[best] < loss(p) else None


def follow(p: Floats, rows: Rows, learned: Ints, wanted: Ints, *, memory: float) -> Floats:
    """`p` with the wanted rows moved by the level as known strictly before each.

    `learned` are the rows whose outcome may be used, from their release on. What is released at one moment
    counts as one: its order means nothing, so none of it may fade before the rest.
    """
    if rows.time is None:
        raise ValueError("a table without times has no order")
    at = release_times(rows)
    known = learned[~np.isnan(rows.rate[learned]) & (rows.weight[learned] > 0)]
    moments, moment = np.unique(at[known], return_inverse=True)
    weight = rows.weight[known]
    clicks, expected, seen = (
        np.bincount(moment, values, len(moments)).astype(np.float64)
        for values in (rows.rate[known] * weight, p[known] * weight, weight)
    )
    kept = np.exp(-expected / memory)
    released = np.searchsorted(moments, rows.time[wanted])
    state = [np.append(0.0, fading_sums(values, kept))[released] for values in (clicks, expected, seen)]
    moved = p.copy()
    moved[wanted] = _moved(p[wanted], *state)
    return moved


def _moved(p: Floats, clicks: Floats, expected: Floats, seen: Floats) -> Floats:
    """Probabilities at the level of fading sums of clicks, expected clicks and impressions."""
    known = seen > 0
    predicted = np.clip(expected[known] / seen[known], 1e-9, 1 - 1e-9)
    observed = predicted * (clicks[known] + PRIOR_CLICKS) / (expected[known] + PRIOR_CLICKS)
    observed = np.clip(observed, 1e-9, 1 - 1e-9)
    factor = observed / (1 - observed) * (1 - predicted) / predicted
    moved = p.copy()
    moved[known] = factor * p[known] / (1 - p[known] + factor * p[known])
    return moved
