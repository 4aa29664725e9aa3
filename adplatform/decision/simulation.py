"""A market of seeded visitors whose true click probabilities are known, to judge policies by.

    logit p = a + affinity(visitor, line item) + quality + position + fatigue · seen + hour + device

Learners never see the truth: they are passed in, score candidates through the real engine, and are told
what was clicked. All policies meet the same visits and the same luck, so their differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol

import numpy as np

from . import chance
from .candidates import CandidateSet
from .engine import decide
from .exploration import logit_sd
from .pacing import Pace, Tick, step, target_for
from .types import (
    AdRequest,
    BidStrategy,
    Candidate,
    Candidates,
    FloatArray,
    IntArray,
    Pick,
    Placement,
    Scorer,
    Scores,
    Seen,
    Slot,
)

DAY = datetime(2026, 1, 5, tzinfo=UTC)
TOPICS = 8
BUDGET_MICROS = 14_000_000  # of the whole market for 1,000 visits, about two thirds of what they could earn
BASE_LOGIT, FATIGUE_LOGIT, FATIGUE_MOST, HOUR_LOGIT, EVENING_HOUR = -4.2, -0.2, 8, 0.25, 20.0
POSITION_LOGIT = (0.3, 0.0, -0.3)
DEVICE_LOGIT = {"desktop": 0.0, "mobile": 0.15, "tablet": -0.1}


@dataclass(frozen=True, slots=True)
class Context:
    """What a click depends on beside visitor and ad. `seen`: how often this visitor has seen this ad."""

    position: int
    hour: float
    device: str
    seen: int


@dataclass(frozen=True, slots=True)
class Market:
    """Visitors (rows of `affinity`), line items (its columns), slots, and the truth between them."""

    seed: int
    affinity: FloatArray
    quality: FloatArray
    devices: tuple[str, ...]
    line_items: tuple[Candidate, ...]  # remaining_micros: their budget for 1,000 visits
    slots: tuple[Slot, ...]

    @classmethod
    def generate(
        cls, seed: int, visitors: int, line_items: int, slots: int, *, affinity: FloatArray | None = None
    ) -> Market:
        """The same seed makes the same market. `affinity` (visitors × line items, in logits) may come from
        texts; without it tastes meet topics as random directions."""
        rng = np.random.default_rng(seed)
        tastes, topics = rng.normal(size=(visitors, TOPICS)), rng.normal(size=(line_items, TOPICS))
        if affinity is None:
            affinity = 1.2 * tastes @ topics.T / math.sqrt(TOPICS)
        return cls(
            seed=seed,
            affinity=affinity,
            quality=rng.normal(0, 0.4, line_items),
            devices=tuple(rng.choice(list(DEVICE_LOGIT), visitors).tolist()),
            line_items=tuple(_line_item(n, rng, BUDGET_MICROS / line_items) for n in range(line_items)),
            slots=tuple(_slot(n, rng) for n in range(slots)),
        )

    def truth(self, visitor: int, creative: int, context: Context) -> float:
        """The true click probability of one visitor and one line item's creative."""
        return float(self.truths(visitor, np.array([creative]), context, np.array([context.seen]))[0])

    def truths(self, visitor: int, rows: IntArray, context: Context, seen: IntArray) -> FloatArray:
        """`truth` of many line items at once, with what was seen of each."""
        logit = (
            BASE_LOGIT
            + self.affinity[visitor, rows]
            + self.quality[rows]
            + POSITION_LOGIT[min(context.position, len(POSITION_LOGIT)) - 1]
            + FATIGUE_LOGIT * np.minimum(seen, FATIGUE_MOST)
            + HOUR_LOGIT * math.cos((context.hour - EVENING_HOUR) / 24 * 2 * math.pi)
            + DEVICE_LOGIT[context.device]
        )
        return np.asarray(1 / (1 + np.exp(-logit)), np.float64)

    def worth_micros(self, row: int, probability: float) -> float:
        """What one impression is truly worth to its advertiser."""
        bid = self.line_items[row].bid_micros
        is_cpm = self.line_items[row].bid_strategy is BidStrategy.MANUAL_CPM
        return bid / 1000 if is_cpm else bid * probability


class Learner(Scorer, Protocol):
    """A scorer that is told what came of its ads."""

    def learn(self, request: AdRequest, slot: Slot, pick: Pick, *, is_clicked: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Result:
    """What a policy earned. `regret_micros`: expected worth that an oracle, asked the same in the same
    state, would have added. `pacing_error`: mean distance of spend from even, as a part of what was spent."""

    requests: int
    filled: int
    clicks: int
    revenue_micros: int
    welfare_micros: float
    regret_micros: float
    pacing_error: float
    budget_spent: float


def run(market: Market, learner: Learner, *, requests: int, ticks: int = 96, epsilon: float = 0.02) -> Result:
    """One day of `requests` visits with a learner deciding, budgets paced in `ticks`."""
    return _Day(market, learner, requests, ticks, epsilon).run()


# --------------------------------------------------------------------------------- learners to compare


class Prior:
    """Knows nothing: the same probability for everybody."""

    def __init__(self, pctr: float = 0.02) -> None:
        self.pctr = pctr
        self.versions = {"policy": "prior"}

    def standing(self, fixed: Sequence[Candidate]) -> FloatArray:
        return np.zeros(len(fixed))

    def lift(self, request: AdRequest, slot: Slot, candidates: Candidates) -> FloatArray:
        del request, slot
        return np.zeros(len(candidates))

    def topic_lifts(self, slot: Slot) -> None:
        del slot

    def score(self, request: AdRequest, slot: Slot, candidates: Candidates) -> Scores:
        del request, slot
        return _scores(np.full(len(candidates), self.pctr), sd=np.zeros(len(candidates)))

    def learn(self, request: AdRequest, slot: Slot, pick: Pick, *, is_clicked: bool) -> None:
        """A prior stays what it is."""


class Counts(Prior):
    """Smoothed click rate of each ad, with its uncertainty: what an ad server without models does."""

    def __init__(self, line_items: int, *, pctr: float = 0.02, strength: float = 50.0) -> None:
        super().__init__(pctr)
        self.versions = {"policy": "counts"}
        self.strength = strength
        self.impressions, self.clicks = np.zeros(line_items), np.zeros(line_items)

    def score(self, request: AdRequest, slot: Slot, candidates: Candidates) -> Scores:
        del request, slot
        shown = self.impressions[candidates.rows]
        pctr = (self.clicks[candidates.rows] + self.strength * self.pctr) / (shown + self.strength)
        return _scores(pctr, sd=logit_sd(shown, pctr))

    def learn(self, request: AdRequest, slot: Slot, pick: Pick, *, is_clicked: bool) -> None:
        del request, slot
        self.impressions[pick.row] += 1
        self.clicks[pick.row] += is_clicked


class Oracle(Prior):
    """Knows the truth, fatigue included: what no learner can beat."""

    def __init__(self, market: Market) -> None:
        super().__init__()
        self.versions = {"policy": "oracle"}
        self.market = market
        self.seen = np.zeros_like(market.affinity, np.int64)

    def standing(self, fixed: Sequence[Candidate]) -> FloatArray:
        return np.zeros(len(fixed))

    def lift(self, request: AdRequest, slot: Slot, candidates: Candidates) -> FloatArray:
        return np.log(self.score(request, slot, candidates).pctr)

    def topic_lifts(self, slot: Slot) -> None:
        del slot

    def score(self, request: AdRequest, slot: Slot, candidates: Candidates) -> Scores:
        visitor = int(request.visitor or 0)
        rows = candidates.rows
        context = Context(slot.position, _hour(request.at), request.device, 0)
        truths = self.market.truths(visitor, rows, context, self.seen[visitor, rows])
        return _scores(truths, sd=np.zeros(len(rows)))

    def learn(self, request: AdRequest, slot: Slot, pick: Pick, *, is_clicked: bool) -> None:
        del slot, is_clicked
        self.seen[int(request.visitor or 0), pick.row] += 1


# ------------------------------------------------------------------------------------------- one day


class _Day:
    """Visits in time order, budgets, paces, and the sums that the result is made of."""

    def __init__(self, market: Market, learner: Learner, requests: int, ticks: int, epsilon: float) -> None:
        self.market, self.learner, self.oracle = market, learner, Oracle(market)
        self.requests, self.ticks, self.epsilon = requests, ticks, epsilon
        self.fixed = CandidateSet(market.line_items)
        self.budget_micros = self.fixed.remaining_micros * requests // 1000 + 1
        self.left_micros = self.budget_micros.copy()
        self.paces = [Pace() for _ in market.line_items]
        self.spent_by_tick = np.zeros((ticks, len(market.line_items)), np.int64)
        self.expected_micros = np.zeros(len(market.line_items))
        self.clicks = self.filled = 0
        self.welfare_micros = self.regret_micros = 0.0

    def run(self) -> Result:
        traffic = np.zeros(self.ticks)
        shares = [1 / self.ticks] * self.ticks
        by_tick = (self.requests + self.ticks - 1) // self.ticks
        for number, request in enumerate(self.visits()):
            tick = min(number // by_tick, self.ticks - 1)
            self.serve(request, number, tick)
            traffic[tick] += 1
            if (number + 1) % by_tick == 0:
                self.repace(tick, shares, by_tick)
        return self.result(traffic)

    def visits(self) -> Iterator[AdRequest]:
        """The same visits for every policy: traffic follows the hour, visitors come as they like to."""
        rng = np.random.default_rng(self.market.seed + 1)
        hours = np.arange(24 * 60) / 60
        rhythm = 1 + 0.7 * np.cos((hours - EVENING_HOUR) / 24 * 2 * math.pi)
        minutes = np.sort(rng.choice(24 * 60, self.requests, p=rhythm / rhythm.sum()))
        activity = rng.gamma(1.5, 1.0, len(self.market.devices))
        visitors = rng.choice(len(activity), self.requests, p=activity / activity.sum())
        slots = rng.choice(len(self.market.slots), self.requests)
        for number, (minute, visitor, slot) in enumerate(zip(minutes, visitors, slots, strict=True)):
            yield AdRequest(
                request_id=str(number),
                at=DAY + timedelta(minutes=int(minute)),
                placements=(Placement("ad", self.market.slots[slot]),),
                visitor=str(visitor),
                device=self.market.devices[visitor],
            )

    def serve(self, request: AdRequest, number: int, tick: int) -> None:
        slot = request.placements[0].slot
        if slot is None:
            return
        pick = self.decide(request, self.learner, number, self.epsilon)
        best = self.decide(request, self.oracle, number, 0.0)
        self.regret_micros += self.worth(request, slot, best) - self.worth(request, slot, pick)
        if pick is None:
            return
        probability = self.probability(request, slot, pick)
        is_clicked = chance.share(chance.mix(self.market.seed, number)) < probability
        self.filled += 1
        self.clicks += is_clicked
        self.welfare_micros += self.market.worth_micros(pick.row, probability)
        self.expected_micros[pick.row] += pick.price_micros / 1000
        if is_clicked or pick.price_kind == "cpm":
            self.left_micros[pick.row] -= pick.charge_micros
            self.spent_by_tick[tick, pick.row] += pick.charge_micros
        self.learner.learn(request, slot, pick, is_clicked=is_clicked)
        if self.learner is not self.oracle:
            self.oracle.learn(request, slot, pick, is_clicked=is_clicked)

    def decide(self, request: AdRequest, scorer: Scorer, number: int, epsilon: float) -> Pick | None:
        decision = decide(
            request=request,
            candidates=self.fixed,
            seen=Seen(),
            scorer=scorer,
            rng=Random(),
            seed=chance.mix(self.market.seed + 2, number),
            epsilon=epsilon,
            remaining_micros=self.left_micros,
            pace=np.array([pace.multiplier for pace in self.paces]),
        )
        return decision.picks[0] if decision.picks else None

    def worth(self, request: AdRequest, slot: Slot, pick: Pick | None) -> float:
        """Expected worth by what the oracle maximises: the paced bid, at the true probability."""
        if pick is None:
            return 0.0
        worth = self.market.worth_micros(pick.row, self.probability(request, slot, pick))
        return worth * self.paces[pick.row].multiplier

    def probability(self, request: AdRequest, slot: Slot, pick: Pick) -> float:
        visitor = int(request.visitor or 0)
        seen = int(self.oracle.seen[visitor, pick.row])
        context = Context(slot.position, _hour(request.at), request.device, seen)
        return self.market.truth(visitor, pick.row, context)

    def repace(self, tick: int, shares: list[float], requests: int) -> None:
        """Expected spend (price times predicted clicks) moves the pace, actual spend the target: a budget of
        a dozen clicks a day says nothing in a tick by itself."""
        for row, pace in enumerate(self.paces):
            left = int(self.left_micros[row])
            before = left + int(self.spent_by_tick[tick, row])
            self.paces[row] = step(
                pace,
                Tick(
                    spent_micros=round(self.expected_micros[row]),
                    target_micros=target_for(before, shares, tick),
                    opportunities=requests,
                    budget_left=left / int(self.budget_micros[row]),
                    traffic_left=sum(shares[tick + 1 :]),
                ),
            )
        self.expected_micros[:] = 0

    def result(self, traffic: FloatArray) -> Result:
        spent = self.spent_by_tick.sum(axis=0)
        even = np.cumsum(traffic)[:, None] / max(traffic.sum(), 1)
        drift = np.abs(np.cumsum(self.spent_by_tick, axis=0) / np.maximum(spent, 1) - even).mean(axis=0)
        revenue_micros = int(spent.sum())
        return Result(
            requests=self.requests,
            filled=self.filled,
            clicks=self.clicks,
            revenue_micros=revenue_micros,
            welfare_micros=self.welfare_micros,
            regret_micros=self.regret_micros,
            pacing_error=float((drift * spent).sum() / max(revenue_micros, 1)),
            budget_spent=float(revenue_micros / self.budget_micros.sum()),
        )


def _hour(at: datetime) -> float:
    return at.hour + at.minute / 60


def _scores(pctr: FloatArray, *, sd: FloatArray) -> Scores:
    return Scores(text=np.full(len(pctr), np.nan), pctr=pctr, pcvr=np.zeros(len(pctr)), sd=sd)


def _line_item(number: int, rng: np.random.Generator, budget_micros: float) -> Candidate:
    """One in four bids for impressions; budgets bind for some and not for others."""
    per_click = rng.random() < 0.75
    bid = float(rng.lognormal(math.log(400_000), 0.4))
    base = Candidate(
        creative_id=number + 1,
        line_item_id=number + 1,
        campaign_id=number + 1,
        advertiser_id=number + 1,
        format="native",
        bid_strategy=BidStrategy.MANUAL_CPC,
        bid_micros=round(bid),
        remaining_micros=round(budget_micros * float(rng.lognormal(0, 0.8))),
    )
    return (
        base if per_click else replace(base, bid_strategy=BidStrategy.MANUAL_CPM, bid_micros=round(bid * 20))
    )


def _slot(number: int, rng: np.random.Generator) -> Slot:
    return Slot(
        id=number + 1,
        public_id=f"slot_{number + 1}",
        site_id=number + 1,
        publisher_id=1,
        format="native",
        floor_micros=int(rng.integers(0, 500_000)),
        position=number % 3 + 1,
    )
