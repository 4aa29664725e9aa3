"""Training on a fraction of the impressions without a click, and the probabilities that this makes wrong put right.

Kept with probability w, non-clicks are worth 1/w of the odds that a model sees: p = q·w / (1 − q + q·w).
"""

from __future__ import annotations

import numpy as np

from ml.schema import Floats, Mask


def sampled_rows(clicked: Floats, *, share: float, seed: int) -> Mask:
    """All clicks, and this share of the rest."""
    rows: Mask = (clicked > 0) | (np.random.default_rng(seed).random(len(clicked)) < share)
    return rows


def corrected(q: Floats, *, share: float) -> Floats:
    """The probability on all impressions of a model that was trained on sampled rows."""
    p: Floats = q * share / (1 - q + q * share)
    return p
