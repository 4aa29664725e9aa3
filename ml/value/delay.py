"""Conversions that have not come yet: their delay is modelled, not waited for.

Chapelle 2014: a click converts with probability p(x), and then after an exponential delay of mean 1/λ. A click that is
e seconds old and has not converted is a conversion to come with probability p·exp(−λe) / (1 − p + p·exp(−λe)).
Alternating the two expectations (EM) needs no gradient code, and p may be any model that takes weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.schema import Floats

ROUNDS = 200
ENOUGH = 1e-9
FEWEST_CONVERSIONS = 5  # fewer say nothing of the delay


@dataclass(frozen=True)
class DelayedRate:
    """The conversion rate once all delays are over, and the mean delay in seconds."""

    rate: float
    delay_seconds: float


def to_come(rate: Floats | float, elapsed: Floats, delay_seconds: float) -> Floats:
    """The probability that a click without a conversion so far still leads to one."""
    waiting = rate * np.exp(-elapsed / delay_seconds)
    probability: Floats = waiting / (1 - rate + waiting)
    return probability


def fit_delayed_rate(converted_after: Floats, elapsed: Floats, count: Floats | None = None) -> DelayedRate:
    """From clicks: seconds to the conversion (NaN: none so far), and seconds from the click to now.

    `count`: how many clicks a row stands for. With fewer than FEWEST_CONVERSIONS the rate is that of what was seen,
    and the delay unknown (NaN).
    """
    count = np.ones(len(elapsed)) if count is None else count
    came, clicks = ~np.isnan(converted_after), float(count.sum())
    converted, took = float(count[came].sum()), converted_after[came] * count[came]
    rate = converted / clicks if clicks else 0.0
    if converted < FEWEST_CONVERSIONS or converted == clicks:
        return DelayedRate(rate, float("nan"))
    delay = float(took.sum()) / converted
    waiting, waits = elapsed[~came], count[~came]
    for _ in range(ROUNDS):
        coming = to_come(rate, waiting, delay) * waits
        conversions = converted + float(coming.sum())
        new_rate = conversions / clicks
        # A conversion to come has waited `elapsed`, and by the exponential's lack of memory waits another mean.
        new_delay = float((took.sum() + (coming * (waiting + delay)).sum()) / conversions)
        settled = abs(new_rate - rate) < ENOUGH and abs(new_delay - delay) < ENOUGH * delay
        rate, delay = new_rate, new_delay
        if settled:
            break
    return DelayedRate(rate, delay)


def completed_share(elapsed: Floats, delay_seconds: float) -> Floats:
    """The share of a click's conversions that have come after so many seconds: what exposure a click is."""
    share: Floats = -np.expm1(-elapsed / delay_seconds)
    return share
