"""Implicit matrix factorisation (Hu, Koren and Volinsky 2008), fitted by `implicit`'s alternating least squares.

Every act counts as 1 with a confidence of 1 + `CONFIDENCE` · weight, everything else as a weak 0. Somebody's factors
are folded in from his history, so that the newest act counts without another training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml.engines.engine import best
from ml.schema import Floats, Ints, Vectors

FACTORS = 32
ROUNDS = 10
PENALTY = 5.0
CONFIDENCE = 10.0


@dataclass(frozen=True)
class Factors:
    """`item_factors` is items × factors, zeros for items without an act."""

    item_factors: Vectors

    @property
    def items(self) -> int:
        """How many items it was fitted for."""
        return len(self.item_factors)

    def similar(self, item: int, k: int) -> tuple[Ints, Floats]:
        """(items, cosine of their factors) of at most `k` items, best first."""
        length = np.linalg.norm(self.item_factors, axis=1)
        cosine = (self.item_factors @ self.item_factors[item]).astype(np.float64)
        cosine /= np.maximum(length * length[item], 1e-12)
        cosine[item] = -np.inf
        chosen = best(cosine, k)
        return chosen, cosine[chosen]

    def score(self, history: Ints, wanted: Ints) -> Floats:
        """How near to 1 the factors put each wanted item for somebody with this history."""
        who = self._folded_in(history, np.ones(len(history)))
        scores: Floats = (self.item_factors[wanted] @ who).astype(np.float64)
        return scores

    def score_all(self, visitor: Ints, item: Ints, weight: Floats, visitors: int) -> Vectors:
        """The same for many visitors and all items; `weight` says how much each act counts."""
        order = np.argsort(visitor, kind="stable")
        ends = np.cumsum(np.bincount(visitor, minlength=visitors))[:-1]
        parts = zip(np.split(item[order], ends), np.split(weight[order], ends), strict=True)
        who = np.stack([self._folded_in(items, weights) for items, weights in parts])
        scores: Vectors = (who @ self.item_factors.T).astype(np.float32)
        return scores

    def _folded_in(self, item: Ints, weight: Floats) -> Vectors:
        """The factors that solve the least squares for one history."""
        own = self.item_factors[item].astype(np.float64)
        confidence = CONFIDENCE * weight
        size = self.item_factors.shape[1]
        left = self._gram + PENALTY * np.eye(size) + (own * confidence[:, None]).T @ own
        right = (own * (1 + confidence)[:, None]).sum(axis=0)
        solved: Vectors = np.linalg.solve(left, right).astype(np.float32)
        return solved

    @cached_property
    def _gram(self) -> Floats:
        wide = self.item_factors.astype(np.float64)
        gram: Floats = wide.T @ wide
        return gram


def fit(
    visitor: Ints,
    item: Ints,
    weight: Floats | None = None,
    *,
    items: int,
    factors: int = FACTORS,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Factors:
    """From acts in any order; acts of one visitor on one item add up. The same seed gives the same factors."""
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import coo_array, csr_matrix
    from threadpoolctl import threadpool_limits

    weight = np.ones(len(visitor)) if weight is None else weight
    known = (visitor >= 0) & (item >= 0)
    if not known.any():
        return Factors(np.zeros((items, factors), np.float32))
    visitors = int(visitor.max()) + 1
    acts = coo_array(
        (CONFIDENCE * weight[known], (visitor[known], item[known])), shape=(visitors, items), dtype=np.float32
    ).tocsr()
    acts.data += 1.0  # the library takes the whole confidence of an act
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=PENALTY,
            alpha=1.0,
            iterations=rounds,
            num_threads=1,
            random_state=seed,
        )
        model.fit(csr_matrix(acts), show_progress=False)
    found: Vectors = np.array(model.item_factors, dtype=np.float32)
    found[np.bincount(item[known], minlength=items) == 0] = 0
    return Factors(found)
