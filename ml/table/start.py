"""What a sum of the features says by itself: a logistic regression that trees may start from.

Smoothed rates enter as log odds, everything in standard deviations, a missing value as a weight of its own. No
weight of a feature that must not lower the prediction is negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.logistic import moved
from ml.schema import Floats, Mask, Vectors

MOST_ROWS = 30_000  # more teach some fifty weights little
PULL = 10.0  # a weight's prior at 0, in units of information
SETTLED = 1e-3  # log odds per standard deviation
FARTHEST = 5.0  # standard deviations
EDGE = 1e-6
SELDOM = 0.01  # a share: a value missing in fewer rows has no weight of its own


@dataclass(frozen=True)
class _Column:
    """How a feature is put into standard deviations."""

    place: int
    is_rate: bool
    mean: float
    spread: float

    @classmethod
    def of(cls, place: int, values: Vectors, *, is_rate: bool) -> _Column:
        plain = _plain(values, is_rate=is_rate)
        known = plain[~np.isnan(plain)]
        if len(known) == 0:
            return cls(place, is_rate, 0.0, 0.0)
        return cls(place, is_rate, float(known.mean()), float(known.std()))

    def standard(self, features: Vectors) -> Floats:
        """Its values of rows; NaN where missing."""
        plain = _plain(features[self.place], is_rate=self.is_rate)
        z: Floats = np.clip((plain - self.mean) / self.spread, -FARTHEST, FARTHEST)
        return z


@dataclass(frozen=True)
class Start:
    """base + Σ weight·(column in standard deviations), with `absent` for a column's part where it is missing."""

    base: float
    columns: list[_Column]
    weight: Floats
    absent: Floats

    @classmethod
    def fit(
        cls, features: Vectors, names: Sequence[str], rising: frozenset[str], *, rate: Floats, weight: Floats
    ) -> Start:
        """Of features (one a row of the array) of rows with outcomes, every so-manieth of them."""
        some = slice(None, None, -(-len(rate) // MOST_ROWS))
        features, rate, weight = features[:, some], rate[some], weight[some]
        found = [
            _Column.of(place, features[place], is_rate=name in rising and name.endswith("_rate"))
            for place, name in enumerate(names)
        ]
        columns = [column for column in found if column.spread > EDGE]
        Z = np.array([column.standard(features) for column in columns]).reshape(len(columns), len(rate))
        gone = np.isnan(Z)
        own = np.flatnonzero((gone.mean(axis=1) > SELDOM) & (gone.mean(axis=1) < 1 - SELDOM))
        may_fall = np.array(
            [True, *(names[column.place] not in rising for column in columns), *[True] * len(own)]
        )
        base = float(np.average(rate, weights=weight))
        offset = float(np.log(base / (1 - base)))
        Z = np.vstack([np.ones(len(rate)), np.nan_to_num(Z), gone[own]]).T
        level, w = np.split(_rising(offset, Z, rate, weight, may_fall), [1])
        absent = np.zeros(len(columns))
        absent[own] = w[len(columns) :]
        return cls(offset + float(level[0]), columns, w[: len(columns)], absent)

    def log_odds(self, features: Vectors) -> Floats:
        """Of rows, from their features in the order of the fit."""
        found = np.full(features.shape[1], self.base)
        for place in range(len(self.columns)):
            found += self._part(place, features)
        return found

    def shares(self, features: Vectors) -> Floats:
        """The variance that each feature's part has over such rows."""
        found = np.zeros(len(features))
        for place, column in enumerate(self.columns):
            found[column.place] = self._part(place, features).var()
        return found

    def _part(self, place: int, features: Vectors) -> Floats:
        z = self.columns[place].standard(features)
        part: Floats = np.where(np.isnan(z), self.absent[place], self.weight[place] * z)
        return part


def _plain(column: Vectors, *, is_rate: bool) -> Floats:
    if not is_rate:
        return column.astype(np.float64)
    rate = np.clip(column.astype(np.float64), EDGE, 1 - EDGE)
    odds: Floats = np.log(rate / (1 - rate))
    return odds


def _rising(offset: float, Z: Floats, rate: Floats, weight: Floats, may_fall: Mask) -> Floats:
    """Weights, none of them negative but where it may fall: what comes out negative is left out, and fitted again."""
    known, used = np.full(len(Z), offset), np.ones(Z.shape[1], dtype=bool)
    while True:
        w = np.zeros(Z.shape[1])
        w[used] = moved(known, Z[:, used], rate, PULL, weight=weight, settled=SETTLED)
        wrong = (w < 0) & ~may_fall
        if not wrong.any():
            return w
        used &= ~wrong
