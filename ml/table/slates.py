"""Rows that compete within a group: features relative to the group, and how much each takes from the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.logistic import moved
from ml.schema import Floats, Ints

PULL = 10.0  # a weight's prior at 0, in units of information
SURE = 2.0  # standard errors


def relative_to_group(column: Floats, group: Ints) -> Floats | None:
    """The column less its mean over the group; NaN in a group of one. None where no group has two values of it."""
    number = int(group.max()) + 1
    first = np.empty(number, dtype=np.int64)
    first[group] = np.arange(len(group))
    like = column[first[group]]
    if ((column == like) | (np.isnan(column) & np.isnan(like))).all():
        return None
    known = ~np.isnan(column)
    count = np.bincount(group[known], minlength=number)
    total = np.bincount(group[known], weights=column[known], minlength=number)
    relative = column - (total / np.maximum(count, 1))[group]
    relative[np.bincount(group, minlength=number)[group] < 2] = np.nan
    return relative


@dataclass(frozen=True)
class Rivalry:
    """log odds + w·(1, log odds, log of the sum of the rivals' odds), the latter two less their means.

    Where exactly one of a group is clicked the last weight is −1: the odds against all rivals. Where rows do not
    disturb one another it is 0.
    """

    mean: Floats
    weight: Floats

    @classmethod
    def learn(cls, log_odds: Floats, rate: Floats, weight: Floats, group: Ints) -> Rivalry | None:
        """From rows that `log_odds` was not fitted on; None unless what one half of the groups teaches surely
        helps the other."""
        whole = cls._fit(log_odds, rate, weight, group)
        gain = np.empty(len(rate))
        for half in (0, 1):
            told, judged = group % 2 == half, group % 2 != half
            if not (told.any() and judged.any()):
                return None
            part = cls._fit(log_odds[told], rate[told], weight[told], group[told])
            after = part.apply(log_odds[judged], group[judged])
            gain[judged] = weight[judged] * (
                _losses(log_odds[judged], rate[judged]) - _losses(after, rate[judged])
            )
        by_group = np.bincount(group, weights=gain)[np.unique(group)]
        error = by_group.std() * np.sqrt(len(by_group))
        return whole if by_group.sum() > SURE * error else None

    @classmethod
    def _fit(cls, log_odds: Floats, rate: Floats, weight: Floats, group: Ints) -> Rivalry:
        Z = np.column_stack([log_odds, rivals(log_odds, group)])
        mean = Z.mean(axis=0)
        Z = np.column_stack([np.ones(len(Z)), Z - mean])
        return cls(mean, moved(log_odds, Z, rate, PULL, weight=weight))

    def apply(self, log_odds: Floats, group: Ints) -> Floats:
        """The log odds of whole groups, each row's rivals taken into account."""
        Z = np.column_stack([log_odds, rivals(log_odds, group)]) - self.mean
        found: Floats = log_odds + self.weight[0] + Z @ self.weight[1:]
        return found


def rivals(log_odds: Floats, group: Ints) -> Floats:
    """Log of the sum of the others' odds in the group; alone, that of one in a billion."""
    highest = np.full(int(group.max()) + 1, -np.inf)
    np.maximum.at(highest, group, log_odds)
    odds = np.exp(log_odds - highest[group])
    others = np.bincount(group, odds)[group] - odds
    found: Floats = np.log(np.maximum(others, 1e-9)) + highest[group]
    return found


def _losses(log_odds: Floats, rate: Floats) -> Floats:
    losses: Floats = np.logaddexp(0.0, log_odds) - rate * log_odds
    return losses
