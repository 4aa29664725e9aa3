"""One order out of several engines: weighted reciprocal ranks (Cormack, Clarke, Büttcher 2009), weights learned.

Scores of different engines do not compare, their ranks do: an item gains Σ w / (OFFSET + rank). Items that an engine
knows nothing of stand together at its end, and gain next to nothing there. Weights are chosen on what visitors wanted
later than everything that the engines were fitted on; a weight is raised from 0 only by a gain beyond its noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.evaluation.ranking import ndcg_at, top
from ml.schema import Column, Floats, Mask, Vectors

OFFSET = 20.0
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
K = 20
PASSES = 2
SURE = 1.0  # standard errors of the mean gain that an engine must bring to be taken in


def reciprocal_ranks(scores: Column) -> Vectors:
    """1 / (OFFSET + rank) of each item within its row; equals share the last of their ranks, NaN comes last.

    A row in which the engine tells no two items apart is zeros.
    """
    from scipy.stats import rankdata

    known = np.nan_to_num(np.asarray(scores, np.float64), nan=-np.inf)
    rank = rankdata(-known, method="max", axis=1)
    gained: Vectors = (1 / (OFFSET + rank)).astype(np.float32)
    gained[known.max(axis=1) == known.min(axis=1)] = 0
    return gained


def fused(ranks: Mapping[str, Vectors], weights: Mapping[str, float]) -> Vectors:
    """The blend of `reciprocal_ranks` by engine; engines without a weight say nothing."""
    total = np.zeros_like(next(iter(ranks.values())))
    for name, column in ranks.items():
        if weights.get(name, 0.0):
            total += np.float32(weights[name]) * column
    return total


def learned_weights(
    ranks: Mapping[str, Vectors], wanted: Mask, *, k: int = K, excluded: Mask | None = None, anchor: str = ""
) -> dict[str, float]:
    """Weights of least regret by NDCG@k over visitors who wanted something; the `anchor` (else the best alone) has 1.

    Coordinate by coordinate: few numbers are fitted, so that some hundred visitors are enough.
    """
    rows = np.flatnonzero(wanted.any(axis=1))
    ranks = {name: column[rows] for name, column in ranks.items()}
    wanted, excluded = wanted[rows], None if excluded is None else excluded[rows]

    def gain(weights: Mapping[str, float]) -> Floats:
        return ndcg_at(top(fused(ranks, weights), k, excluded), wanted)

    alone = {name: float(gain({name: 1.0}).mean()) if len(rows) else 0.0 for name in ranks}
    first = anchor or max(alone, key=lambda name: alone[name])
    weights = {name: float(name == first) for name in ranks}
    if len(rows) < 2:
        return weights
    standing = gain(weights)
    for _ in range(PASSES):
        for name in ranks:
            if name == first:
                continue
            for weight in WEIGHTS:
                tried = gain({**weights, name: weight})
                more = tried - standing
                if more.mean() > SURE * more.std() / len(more) ** 0.5:
                    weights, standing = {**weights, name: weight}, tried
    return weights


def without(weights: Mapping[str, float], name: str) -> dict[str, float]:
    """The same blend with one engine left out."""
    return {other: weight for other, weight in weights.items() if other != name}
