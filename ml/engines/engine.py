"""What every classical engine can do: say which items are alike, and score items for somebody by his history.

Engines are fitted on codes 0… of visitors and items (−1: unknown, left out) and on nothing later than the moment
that they are asked for; who calls them sees to that. Scores of one engine compare only with each other.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ml.schema import Column, Floats, Ints, Vectors


class Engine(Protocol):
    """A fitted engine over the items 0…`items`−1."""

    @property
    def items(self) -> int:
        """How many items it was fitted for."""

    def similar(self, item: int, k: int) -> tuple[Ints, Floats]:
        """(items, likeness) of at most `k` items most like this one, best first, never itself."""

    def score(self, history: Ints, wanted: Ints) -> Floats:
        """How well each wanted item suits somebody with this history (items, newest last); 0 knows nothing."""

    def score_all(self, visitor: Ints, item: Ints, weight: Floats, visitors: int) -> Vectors:
        """Scores of all items for many visitors at once, from (visitor, item, weight) of what each did."""


def best(scores: Column, k: int, *, above: float = 0.0) -> Ints:
    """Positions of the `k` highest scores over `above`, highest first; among equals the lower position."""
    order = np.argsort(-scores, kind="stable")[:k]
    return order[scores[order] > above].astype(np.int64)


def retrieved(scores: Column, k: int) -> Column:
    """The `k` best items of each row of visitors × items, as a mask: one engine's candidates."""
    chosen = np.zeros(scores.shape, np.bool_)
    k = min(k, scores.shape[1])
    if k > 0:
        np.put_along_axis(chosen, np.argpartition(-scores, k - 1, axis=1)[:, :k], True, axis=1)
    return chosen
