"""Exact bounds and counts of independent observations: small data must not raise alarms by chance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, chi2

from ml.schema import Column, Floats, ImpressionLog, Mask


def binomial_bounds(hits: npt.ArrayLike, trials: npt.ArrayLike, *, alpha: float) -> tuple[Floats, Floats]:
    """Clopper and Pearson's exact two-sided interval of a share, elementwise; (0, 1) of no trials."""
    found = np.asarray(hits, np.float64)
    missed = np.asarray(trials, np.float64) - found
    low = np.where(found > 0, beta.ppf(alpha / 2, np.maximum(found, 1e-9), missed + 1), 0.0)
    high = np.where(missed > 0, beta.ppf(1 - alpha / 2, found + 1, np.maximum(missed, 1e-9)), 1.0)
    return low, high


def psi_noise(bins: int, reference: int, newest: int, *, alpha: float) -> float:
    """The population stability index that chance alone exceeds with probability alpha.

    For equal distributions it is (1/n + 1/m) times a chi square with bins - 1 degrees of freedom (Yurdakul, 2018).
    """
    if bins < 2:
        return 0.0
    return float(chi2.ppf(1 - alpha, bins - 1) * (1 / max(reference, 1) + 1 / max(newest, 1)))


def ks_noise(reference: int, newest: int, *, alpha: float) -> float:
    """Kolmogorov and Smirnov's two-sample distance that chance alone exceeds with probability alpha (asymptotic)."""
    spread = 1 / max(reference, 1) + 1 / max(newest, 1)
    return float(np.sqrt(-np.log(alpha / 2) / 2 * spread))


def has_visitor(visitor: Column) -> Mask:
    """Rows that name their visitor: not None, not "", not NaN."""
    return np.array([not _is_empty(one) for one in visitor.tolist()], dtype=bool)


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def independent(log: ImpressionLog, rows: Mask) -> int:
    """How many observations these rows count as: those of one visitor are one, each row without visitor is one.

    The rows of one visitor share the device, the hours, the taste; counting them singly would turn noise into drift.
    """
    visitor = log.visitor[rows]
    known = has_visitor(visitor)
    return len(set(visitor[known].tolist())) + int((~known).sum())
