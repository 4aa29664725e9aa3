"""Content likeness: items whose text says the same, by the cosine of their vectors. Knows an item before anybody did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.engines.engine import best
from ml.schema import Floats, Ints, Vectors


@dataclass(frozen=True)
class Content:
    """`vectors` has a unit row per item, zeros where an item has no text."""

    vectors: Vectors

    @property
    def items(self) -> int:
        """How many items it was made for."""
        return len(self.vectors)

    def similar(self, item: int, k: int) -> tuple[Ints, Floats]:
        """(items, cosine) of at most `k` items whose text is nearest, best first."""
        cosine = (self.vectors @ self.vectors[item]).astype(np.float64)
        cosine[item] = -np.inf
        chosen = best(cosine, k)
        return chosen, cosine[chosen]

    def score(self, history: Ints, wanted: Ints) -> Floats:
        """Cosine of each wanted item with the mean of the history."""
        if len(history) == 0:
            return np.zeros(len(wanted))
        scores: Floats = (self.vectors[wanted] @ _unit(self.vectors[history].mean(axis=0))).astype(np.float64)
        return scores

    def score_all(self, visitor: Ints, item: Ints, weight: Floats, visitors: int) -> Vectors:
        """The same for many visitors and all items; `weight` says how much each act counts."""
        total = np.zeros((visitors, self.vectors.shape[1]), np.float32)
        np.add.at(total, visitor, self.vectors[item] * weight[:, None].astype(np.float32))
        scores: Vectors = _unit(total) @ self.vectors.T
        return scores


def fit(vectors: Vectors) -> Content:
    """From vectors of any length; rows of zeros stay so."""
    return Content(_unit(vectors.astype(np.float32)))


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return unit
