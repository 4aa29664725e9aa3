"""How good ordered lists are: one row per visitor, best first, beside what he turned out to want.

`top` holds item codes, `wanted` is a mask of visitors × items. Each function gives one number per visitor, so that
intervals come from drawing visitors; `coverage` is of all lists together.
"""

from __future__ import annotations

import numpy as np

from ml.schema import Column, Floats, Ints, Mask


def top(scores: Column, k: int, excluded: Mask | None = None) -> Ints:
    """The k best items of each row, best first; among equals the lower code. `excluded` ones come last."""
    left = scores if excluded is None else np.where(excluded, -np.inf, scores)
    if k >= left.shape[1]:
        return np.argsort(-left, axis=1, kind="stable").astype(np.int64)
    # The k-th best score, and of those that equal it the first: a partition alone would take any of them.
    least = -np.partition(-left, k - 1, axis=1)[:, k - 1 : k]
    first = np.argsort(np.where(left >= least, -left, np.inf), axis=1, kind="stable")[:, :k]
    return first.astype(np.int64)


def recall_at(top: Ints, wanted: Mask) -> Floats:
    """Share of what a visitor wanted that his list holds; NaN where he wanted nothing."""
    hits = np.take_along_axis(wanted, top, axis=1).sum(axis=1)
    total = wanted.sum(axis=1)
    return np.where(total > 0, hits / np.maximum(total, 1), np.nan)


def ndcg_at(top: Ints, wanted: Mask) -> Floats:
    """Discounted gain over that of a perfect list (Järvelin, Kekäläinen 2002); NaN where a visitor wanted nothing."""
    discount = 1 / np.log2(np.arange(top.shape[1]) + 2)
    gained = np.take_along_axis(wanted, top, axis=1) @ discount
    total = wanted.sum(axis=1)
    most = np.append(0.0, discount.cumsum())[np.minimum(total, top.shape[1])]
    return np.where(total > 0, gained / np.maximum(most, 1e-12), np.nan)


def coverage(top: Ints, items: int) -> float:
    """Share of all items that stand in at least one list."""
    return len(np.unique(top)) / items if items else 0.0
