"""Scores of some vectors of a large table with one reader's: the inner loop of scoring texts in a request."""

from __future__ import annotations

import numpy as np

from ml.native import kernels
from ml.schema import Column, Floats, Ints, Vectors


def dots(
    vectors: Vectors, reader: Vectors, vector_row: Ints, has_vector: Column, rows: Ints, *, bias: float
) -> Floats:
    """uᵀv + bias for each of `rows`, whose vector stands at `vector_row[row]`; NaN where it has none."""
    if kernels is None:
        scores = (vectors[vector_row[rows]] @ reader).astype(np.float64) + bias
        return np.where(has_vector[rows], scores, np.nan)
    out = np.empty(len(rows))
    reader = np.ascontiguousarray(reader, np.float32)
    kernels.scores(rows, len(rows), vector_row, has_vector, vectors, len(reader), reader, bias, out)
    return out
