"""The level of predictions over time: how far the click rate has moved since the model was fitted.

A shift on the log odds, from clicks that came against clicks expected, where older ones fade. How fast they fade,
and whether there is a shift at all, is decided by log loss on rows that the model was not fitted on.
"""

from __future__ import annotations

import math

import numpy as np

from ml.evaluation.metrics import row_losses
from ml.schema import Floats, Ints
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
    moved = p.copy()
    at = release_times(rows)
    known = learned[~np.isnan(rows.rate[learned]) & (rows.weight[learned] > 0)]
    known = known[np.lexsort((rows.time[known], at[known]))]
    release = at[known].tolist()
    clicks, expected, seen = (
        (rows.rate * rows.weight)[known].tolist(),
        (p * rows.weight)[known].tolist(),
        rows.weight[known].tolist(),
    )
    state = _Level(memory)
    upcoming = 0
    for row in wanted[np.argsort(rows.time[wanted], kind="stable")].tolist():
        while upcoming < len(release) and release[upcoming] < rows.time[row]:
            moment, first = release[upcoming], upcoming
            while upcoming < len(release) and release[upcoming] == moment:
                upcoming += 1
            together = slice(first, upcoming)
            state.add(sum(clicks[together]), sum(expected[together]), sum(seen[together]))
        moved[row] = state.apply(float(p[row]))
    return moved


class _Level:
    """Fading sums of clicks, expected clicks and impressions."""

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._clicks = self._expected = self._seen = 0.0

    def add(self, clicks: float, expected: float, seen: float) -> None:
        """What came since the last time; all that was known before fades by its size."""
        fading = math.exp(-expected / self._memory)
        self._clicks = fading * self._clicks + clicks
        self._expected = fading * self._expected + expected
        self._seen = fading * self._seen + seen

    def apply(self, p: float) -> float:
        """A probability at this level."""
        if self._seen <= 0:
            return p
        predicted = min(max(self._expected / self._seen, 1e-9), 1 - 1e-9)
        observed = predicted * (self._clicks + PRIOR_CLICKS) / (self._expected + PRIOR_CLICKS)
        observed = min(max(observed, 1e-9), 1 - 1e-9)
        factor = observed / (1 - observed) * (1 - predicted) / predicted
        return factor * p / (1 - p + factor * p)
