"""Logistic regression on top of known log odds, pulled towards changing nothing: what calibrations and conversions fit."""

from __future__ import annotations

import numpy as np

from ml.schema import Floats

STEPS = 25
SETTLED = 1e-9
LONGEST_STEP = 1.0  # log odds per unit of a column: farther, and Newton's method may run away


def moved(
    offset: Floats,
    Z: Floats,
    y: Floats,
    pull: Floats | float,
    *,
    weight: Floats | float = 1.0,
    settled: float = SETTLED,
) -> Floats:
    """Weights w of offset + Z·w for labels y (0 to 1). `pull`, by column: the precision of a prior at 0, as that many
    units of information (a row at probability p has p·(1 − p)·z²). `weight`: how often each row counts."""
    w = np.zeros(Z.shape[1])
    prior = np.broadcast_to(np.asarray(pull, np.float64), w.shape)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(offset + Z @ w)))
        gradient = Z.T @ (weight * (y - p)) - prior * w
        information = (Z * (weight * p * (1 - p))[:, None]).T @ Z + np.diag(prior)
        step = np.clip(np.linalg.solve(information, gradient), -LONGEST_STEP, LONGEST_STEP)
        w = w + step
        if np.abs(step).max() < settled:
            break
    return w
