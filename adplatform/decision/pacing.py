"""How fast a budget may be spent now: one multiplier of the bid per line item, moved once per tick.

Batch dual mirror descent (Balseiro, Lu, Mirrokni 2023; Balseiro, Gur 2019 aggregated over a tick):

    ρ = remaining · c / Σ of shares still to come         what this tick should have spent
    e = clip((spent − ρ) / ρ, −1, 1.5)
    ℓ ← clip(ℓ + η · e, −ln k_max, −ln k_min);  k = exp(−ℓ)

ρ is computed anew from what is left, so past errors need no integral term. The guards around it are
those that production pacers publish; each is named where it acts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from .types import FloatArray

LEAST_PACE = 0.02
DEAD_BAND = 0.05  # within it nothing changes: the same clicks for fewer writes
LEAST_OPPORTUNITIES = 20  # fewer say nothing about a small budget (Snap)
SLOWEST, FASTEST = 0.6, 1.5  # of the last pace, in one tick (TA-PID, M-PID)
ETA_RANGE = (0.05, 0.6)
WINDOW = 8  # paces the oscillation detector looks at
END_SHARE = 0.01  # of budget or time left: hold, and let leases end it
STALE_TICKS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """State of one pacer. `multiplier` k is what bids are multiplied with; `recent` are the last k's.

    `carried_*` hold spend and opportunities of ticks too thin to learn from."""

    multiplier: float = 1.0
    eta: float = 0.3
    recent: tuple[float, ...] = ()
    carried_spent_micros: int = 0
    carried_target_micros: float = 0.0
    carried_opportunities: int = 0

    def as_state(self) -> dict[str, Any]:
        """Plain data to store between ticks."""
        return asdict(self) | {"recent": list(self.recent)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Pace:
        """The pace that `as_state` stored; an empty state is a new pacer."""
        return cls(**{**state, "recent": tuple(state.get("recent", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What happened in a tick. `spent_micros` moves the pace: where clicks are rare, give expected spend (price
    times predicted clicks of what was shown), for single clicks are too lumpy to learn from; in the simulated
    market this brought 26 % more clicks from the same budgets. `target_micros` is from `target_for`, by actual
    spend. Shares are parts of the flight's budget and traffic still left after the tick. `is_delayed`: events
    lag, so the numbers are not the truth."""

    spent_micros: int
    target_micros: float
    opportunities: int
    budget_left: float = 1.0
    traffic_left: float = 1.0
    is_delayed: bool = False


def target_for(remaining_micros: float, shares: Sequence[float], tick: int) -> float:
    """ρ: what tick should spend of what remains before it, by the traffic shares still to come."""
    to_come = math.fsum(shares[tick:])
    if to_come <= 0:
        return float(remaining_micros)
    return remaining_micros * shares[tick] / to_come


def step(pace: Pace, tick: Tick, *, most: float = 1.0) -> Pace:
    """The pace for the next tick. `most` is 1 where the advertiser's bid is a hard maximum."""
    if tick.is_delayed or tick.budget_left < END_SHARE or tick.traffic_left < END_SHARE:
        return pace
    spent_micros = pace.carried_spent_micros + tick.spent_micros
    target_micros = pace.carried_target_micros + tick.target_micros
    opportunities = pace.carried_opportunities + tick.opportunities
    if (opportunities < LEAST_OPPORTUNITIES and spent_micros == 0) or target_micros <= 0:
        return replace(
            pace,
            carried_spent_micros=spent_micros,
            carried_target_micros=target_micros,
            carried_opportunities=opportunities,
        )
    return moved(pace, (spent_micros - target_micros) / target_micros, most=most)


def moved(pace: Pace, error: float, *, most: float) -> Pace:
    """One mirror step against a relative spending error, with its clamps; what was carried is used up."""
    multiplier = pace.multiplier
    if abs(error) >= DEAD_BAND:
        wanted = multiplier * math.exp(-pace.eta * min(max(error, -1.0), 1.5))
        clamped = min(max(wanted, SLOWEST * multiplier), FASTEST * multiplier)
        multiplier = min(max(clamped, LEAST_PACE), most)
    recent = (*pace.recent, multiplier)[-WINDOW:]
    return Pace(multiplier=multiplier, eta=_calmed(pace.eta, recent), recent=recent)


def _calmed(eta: float, recent: Sequence[float]) -> float:
    """Smaller steps when the pace swings, larger ones when it keeps climbing or falling (Snap).

    F = Σ|x_i+1 − x_i| / |x_n − x_1|: 1 is a straight way, more than 3 is swinging.
    """
    if len(recent) < WINDOW:
        return eta
    way = math.fsum(abs(b - a) for a, b in pairwise(recent))
    if way == 0:
        return eta
    distance = abs(recent[-1] - recent[0])
    if way > 3 * distance:
        eta *= 0.7
    elif way <= distance * (1 + 1e-9):
        eta *= 1.1
    return min(max(eta, ETA_RANGE[0]), ETA_RANGE[1])


def decayed(multiplier: float, *, median: float, ticks_missed: int) -> float:
    """What a server uses when no new pace has come: after three ticks it falls by a tenth per tick to the
    last day's median, and is never raised. Spending too little can be made good, too much cannot."""
    if ticks_missed < STALE_TICKS or multiplier <= median:
        return multiplier
    return float(max(median, multiplier * 0.9 ** (ticks_missed - STALE_TICKS + 1)))


# --------------------------------------------------------------------------------- with a target cost


@dataclass(frozen=True, slots=True)
class TargetPace:
    """Duals of a budget and a cost target, as logarithms: bid = k · w with k = min(1/μ, (1+λ)/λ).

    Updated apart from each other they keep the guarantees of the coupled pair (Balseiro, Bhawalkar, Feng,
    Lu, Mirrokni, Sivan, Wang, ICML 2023). It begins careful: λ = 2, so k <= 1.5.
    """

    log_lambda: float = math.log(2.0)
    log_mu: float = 0.0

    @property
    def multiplier(self) -> float:
        lam = math.exp(self.log_lambda)
        return min(max(min(math.exp(-self.log_mu), (1 + lam) / lam), 0.05), 3.0)


def step_target(
    pace: TargetPace, tick: Tick, *, spent_total_micros: float, worth_total_micros: float, eta: float = 0.6
) -> TargetPace:
    """Move both duals. `worth_total_micros` is Σ w over what was won so far, w the target price times the
    predicted conversions (target CPA) or their value over the target (ROAS): predictions vary less than
    counts; a calibration factor ties them to attributed conversions."""
    log_mu, log_lambda = pace.log_mu, pace.log_lambda
    if tick.target_micros > 0 and not tick.is_delayed:
        error = (tick.spent_micros - tick.target_micros) / tick.target_micros
        log_mu = min(max(log_mu + eta * min(max(error, -1.0), 1.5), -math.log(3.0)), math.log(20.0))
    if worth_total_micros > 0:
        over = (spent_total_micros - worth_total_micros) / worth_total_micros
        log_lambda += eta * min(max(over, -1.0), 1.0)
        log_lambda = min(max(log_lambda, math.log(0.3)), math.log(1e3))
    return TargetPace(log_lambda, log_mu)


def calibration(attributed: float, predicted: float) -> float:
    """Factor from predicted to attributed conversions, on those old enough to be complete; [0.5, 2]."""
    return min(max((attributed + 5) / (predicted + 5), 0.5), 2.0)


# ---------------------------------------------------------------------- where lost prices are known too


@dataclass(frozen=True, slots=True)
class Landscape:
    """What every multiplier would have bought in a sample of auctions: bid k·worth wins where k >= ratio.

    Our own auction knows the price that would have won also where we lost, so the multiplier for what is
    left can be solved instead of searched: the online linear programme on fresh data. Columns ascend by
    `ratio` = price / worth; `spend` and `worth` are cumulative, per auction of the sample.
    """

    ratio: FloatArray
    spend: FloatArray
    worth: FloatArray

    @classmethod
    def of(cls, worth: FloatArray, price: FloatArray) -> Landscape:
        ratio = price / np.maximum(worth, 1e-12)
        order = np.argsort(ratio, kind="stable")
        size = max(len(order), 1)
        return cls(ratio[order], np.cumsum(price[order]) / size, np.cumsum(worth[order]) / size)

    def for_budget(self, spend_per_auction: float, *, most: float) -> float:
        """The least multiplier that spends what is wanted per auction; `most` where nothing spends it."""
        place = int(np.searchsorted(self.spend, spend_per_auction, side="left"))
        return min(float(self.ratio[place]), most) if place < len(self.ratio) else most

    def for_target(
        self, auctions: float, spent: float, worth: float, *, most: float, margin: float = 0.98
    ) -> float:
        """The highest multiplier that, over the auctions to come, keeps the total cost within the total
        worth (target CPA times conversions, value over target ROAS), with a margin."""
        kept = spent + auctions * self.spend <= margin * (worth + auctions * self.worth)
        if not kept.any():
            return LEAST_PACE
        last = int(np.flatnonzero(kept)[-1])
        return min(float(self.ratio[last]), most) if last + 1 < len(kept) else most
