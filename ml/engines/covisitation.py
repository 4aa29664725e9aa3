"""Item-to-item co-visitation: what people who did this also did (Linden, Smith and York 2003).

The likeness of two items is the cosine of the sets of visitors behind them; visits may fade with age, and items
with few visitors are shrunk, since two visitors in common say little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.engines.engine import best
from ml.schema import Floats, Ints, Vectors

Sparse = Any  # scipy.sparse.csr_array


@dataclass(frozen=True)
class CoVisitation:
    """`likeness` is items × items, symmetric, 1 on the diagonal of whatever was visited at all."""

    likeness: Sparse

    @property
    def items(self) -> int:
        """How many items it was fitted for."""
        return int(self.likeness.shape[0])

    def similar(self, item: int, k: int) -> tuple[Ints, Floats]:
        """(items, likeness) of at most `k` items that share most visitors with this one, best first."""
        row = self.likeness[[item]]
        others = row.indices != item
        items, likeness = row.indices[others].astype(np.int64), row.data[others].astype(np.float64)
        chosen = best(likeness, k)
        return items[chosen], likeness[chosen]

    def score(self, history: Ints, wanted: Ints) -> Floats:
        """Sum of the likeness of each wanted item to the items of the history, itself included."""
        if len(history) == 0:
            return np.zeros(len(wanted))
        total = np.asarray(self.likeness[history].sum(axis=0), dtype=np.float64).ravel()
        scores: Floats = total[wanted]
        return scores

    def score_all(self, visitor: Ints, item: Ints, weight: Floats, visitors: int) -> Vectors:
        """The same for many visitors and all items; `weight` says how much each act counts."""
        return _dense(_table(visitor, item, weight, (visitors, self.items)) @ self.likeness)


def fit(
    visitor: Ints,
    item: Ints,
    time: Floats | None = None,
    *,
    items: int,
    half_life_seconds: float | None = None,
    shrinkage: float = 0.0,
) -> CoVisitation:
    """From acts in any order; several acts of one visitor on one item count once (the newest, where they fade).

    `half_life_seconds` needs `time`: an act counts half when it is so much older than the newest.
    `shrinkage` is added to each item's squared norm: with s, n common visitors of two items give n / (n + s).
    """
    weight = np.ones(len(visitor))
    if half_life_seconds is not None:
        if time is None:
            raise ValueError("acts fade only by their time")
        weight = np.exp2((time - time.max(initial=-np.inf)) / half_life_seconds)
    known = (visitor >= 0) & (item >= 0)
    visitor, item, weight = visitor[known], item[known], weight[known]
    table = _once(visitor, item, weight, items)
    both = (table.T @ table).tocoo()
    norm = np.sqrt(np.asarray(both.diagonal(), dtype=np.float64) + shrinkage)
    row, column = both.coords
    likeness = np.where(row == column, 1.0, both.data / np.maximum(norm[row] * norm[column], 1e-12))
    return CoVisitation(_table(row, column, likeness, (items, items)))


def _once(visitor: Ints, item: Ints, weight: Floats, items: int) -> Sparse:
    """Visitors × items with the largest weight of each pair."""
    order = np.argsort(-weight, kind="stable")
    pair = visitor[order] * items + item[order]
    _, first = np.unique(pair, return_index=True)
    rows = order[first]
    visitors = int(visitor.max(initial=-1)) + 1
    return _table(visitor[rows], item[rows], weight[rows], (visitors, items))


def _table(row: Ints, column: Ints, weight: Floats, shape: tuple[int, int]) -> Sparse:
    from scipy.sparse import coo_array

    return coo_array((weight.astype(np.float32), (row, column)), shape=shape).tocsr()


def _dense(table: Sparse) -> Vectors:
    dense: Vectors = np.asarray(table.toarray(), dtype=np.float32)
    return dense
