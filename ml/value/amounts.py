"""What an order is worth, with heavy tails: probability of an order times the mean of a lognormal.

A mean of logarithms must not be raised back bare: exp(mean) is the median. Duan's smearing multiplies by the mean of
exp(residual), which is right whatever the residuals' law; groups lean on everybody while they have few orders.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.schema import Floats

STRENGTH = 10.0  # orders at everybody's mean logarithm with which a group starts


@dataclass(frozen=True)
class AmountModel:
    """Expected amount of one order by group."""

    by_group: Mapping[Hashable, float]
    overall: float

    def expected(self, group: Hashable) -> float:
        return self.by_group.get(group, self.overall)


def fit_amounts(amounts: Floats, groups: Sequence[Hashable], *, strength: float = STRENGTH) -> AmountModel:
    """From positive amounts of orders; a zero is no order and is left out."""
    logs: dict[Hashable, list[float]] = {}
    for amount, group in zip(amounts.tolist(), groups, strict=True):
        if amount > 0:
            logs.setdefault(group, []).append(float(np.log(amount)))
    if not logs:
        return AmountModel({}, 0.0)
    everything = np.concatenate([np.array(values) for values in logs.values()])
    middle = float(everything.mean())
    means = {
        group: (sum(values) + strength * middle) / (len(values) + strength) for group, values in logs.items()
    }
    residuals = np.concatenate([np.array(values) - means[group] for group, values in logs.items()])
    smearing = float(np.exp(residuals).mean())
    overall = float(np.exp(everything).mean())
    return AmountModel({group: float(np.exp(mean)) * smearing for group, mean in means.items()}, overall)
