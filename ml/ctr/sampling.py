"""Training on a fraction of the impressions without a click, and the probabilities that this makes wrong put right.

Kept with probability w, non-clicks are worth 1/w of the odds that a model sees: logit p = logit q + ln w, which is the
`offset` of what calibrates the model (ml.ctr.calibration).
"""

from __future__ import annotations

import numpy as np

from ml.schema import Floats, Mask

LEAST_SHARE = 0.01  # of the non-clicks: below it a handful of them would stand for everything


def share_for(clicked: Floats, most_rows: int) -> float:
    """The share of the non-clicks with which all rows are about `most_rows`; 1 where they are no more anyway."""
    clicks, rest = float((clicked > 0).sum()), float((clicked <= 0).sum())
    return 1.0 if clicks + rest <= most_rows else max(LEAST_SHARE, (most_rows - clicks) / rest)


def sampled_rows(clicked: Floats, *, share: float, seed: int) -> Mask:
    """All clicks, and this share of the rest."""
    rows: Mask = (clicked > 0) | (np.random.default_rng(seed).random(len(clicked)) < share)
    return rows
