"""Our bidder against a recorded second-price log: what its pacing would have bought with a budget.

The log has, in time order, the price that won each auction, whether it was clicked, and our prediction.
A bid wins where it reaches the price, pays that price, and never exceeds what is left of the budget.
Prices, budget and the value of a click are in one unit; which one does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .pacing import Landscape, Pace, Tick, step, target_for
from .types import BoolArray, DecisionError, FloatArray

SAMPLE = 2_000  # auctions that the landscape remembers: longer memories lose to the hour of the day
RELEARN = 200  # auctions between two sortings of it
DUAL_START = 0.5


@dataclass(frozen=True, slots=True)
class Log:
    """A second-price log in time order."""

    click: FloatArray
    price: FloatArray
    pctr: FloatArray

    def __post_init__(self) -> None:
        if not len(self.click) == len(self.price) == len(self.pctr):
            raise DecisionError("click, market_price and pctr must have the same length.")
        if not all(np.isfinite(column).all() for column in (self.click, self.price, self.pctr)):
            raise DecisionError("click, market_price and pctr must be numbers.")
        if (self.price < 0).any() or (self.pctr < 0).any():
            raise DecisionError("market_price and pctr must not be negative.")

    def __len__(self) -> int:
        return len(self.price)


@dataclass(frozen=True, slots=True)
class Bought:
    """What a bidder bought. `value` is Σ pCTR over what it won; `spend_ratio` is of the budget."""

    auctions: int
    impressions: int
    clicks: int
    value: float
    spend: float
    budget: float

    @property
    def spend_ratio(self) -> float:
        return self.spend / self.budget if self.budget else 0.0


class Bidder(Protocol):
    """Bids for the auctions of one tick, then learns what they cost."""

    def bids(self, pctr: FloatArray, *, left: float, auctions_left: int) -> FloatArray: ...

    def learn(self, log: Log, won: BoolArray, *, spent: float, target: float) -> None:
        """`log` is the tick's part; `target` what it should have spent."""
        ...


class Linear:
    """bid = k · pCTR with a k that never changes: `lin` and `mcpc` of Zhang et al. 2014."""

    def __init__(self, click_worth: float) -> None:
        self.click_worth = click_worth

    def bids(self, pctr: FloatArray, *, left: float, auctions_left: int) -> FloatArray:
        del left, auctions_left
        return self.click_worth * pctr

    def learn(self, log: Log, won: BoolArray, *, spent: float, target: float) -> None:
        """A fixed rule learns nothing."""


class Dual:
    """Mirror descent on the spend alone (`pacing.step`): for exchanges that hide lost prices."""

    def __init__(self, click_worth: float, *, most: float) -> None:
        self.click_worth, self.most = click_worth, most
        self.pace = Pace(multiplier=DUAL_START)

    def bids(self, pctr: FloatArray, *, left: float, auctions_left: int) -> FloatArray:
        del left, auctions_left
        return self.pace.multiplier * self.click_worth * pctr

    def learn(self, log: Log, won: BoolArray, *, spent: float, target: float) -> None:
        del won
        tick = Tick(spent_micros=round(spent), target_micros=target, opportunities=len(log))
        self.pace = step(self.pace, tick, most=self.most)


class Receding:
    """Solve the multiplier for what is left from the auctions just seen (`pacing.Landscape`)."""

    def __init__(self, click_worth: float, *, most: float) -> None:
        self.click_worth, self.most = click_worth, most
        self.seen_worth, self.seen_price = np.empty(0), np.empty(0)
        self.fresh = 0
        self.landscape: Landscape | None = None

    def bids(self, pctr: FloatArray, *, left: float, auctions_left: int) -> FloatArray:
        rate = left / max(auctions_left, 1)
        if self.landscape is None:
            # Nothing seen yet: bid what an auction may cost on average, scaled by the prediction.
            return rate * pctr / np.maximum(np.cumsum(pctr) / np.arange(1, len(pctr) + 1), 1e-12)
        return self.landscape.for_budget(rate, most=self.most) * self.click_worth * pctr

    def learn(self, log: Log, won: BoolArray, *, spent: float, target: float) -> None:
        del won, spent, target
        self.seen_worth = np.concatenate([self.seen_worth, self.click_worth * log.pctr])[-SAMPLE:]
        self.seen_price = np.concatenate([self.seen_price, log.price])[-SAMPLE:]
        self.fresh += len(log)
        if self.landscape is None or self.fresh >= min(RELEARN, len(self.seen_price) // 10):
            self.landscape = Landscape.of(self.seen_worth, self.seen_price)
            self.fresh = 0


def replay_auctions(
    log: Log, *, budget: float, bidder: Bidder, period: int | None = None, tick: int | None = None
) -> Bought:
    """Run a bidder over a log. `budget` is for each period of that many auctions (the last, if shorter,
    gets its share), or for the whole log. The bidder keeps what it learnt from period to period."""
    period = period or max(len(log), 1)
    tick = tick or min(500, max(period // 50, 1))
    won = np.zeros(len(log), np.bool_)
    granted = 0.0
    for start, end in _stretches(0, len(log), period):
        share = budget * (end - start) / period
        granted += share
        left = share
        for first, last in _stretches(start, end, tick):
            part = Log(log.click[first:last], log.price[first:last], log.pctr[first:last])
            shares = [float(last - first), float(end - last)]
            bids = bidder.bids(part.pctr, left=left, auctions_left=end - first)
            hits = _won(bids, part.price, left)
            spent = float(part.price[hits].sum())
            bidder.learn(part, hits, spent=spent, target=target_for(left, shares, 0))
            won[first:last] = hits
            left -= spent
    return Bought(
        auctions=len(log),
        impressions=int(won.sum()),
        clicks=int(log.click[won].sum()),
        value=float(log.pctr[won].sum()),
        spend=float(log.price[won].sum()),
        budget=granted,
    )


def _stretches(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    for first in range(start, end, size):
        yield first, min(first + size, end)


def _won(bids: FloatArray, price: FloatArray, left: float) -> BoolArray:
    """Which auctions are won when no bid may exceed what is left at its time."""
    wants = bids >= price
    if price[wants].sum() + bids.max(initial=0.0) <= left:
        return wants  # the limit is never reached
    hits = np.zeros(len(bids), np.bool_)
    for place in np.flatnonzero(wants).tolist():
        if price[place] <= left:
            hits[place] = True
            left -= price[place]
    return hits
