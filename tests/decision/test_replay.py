"""Our bidder on recorded auctions: never over budget, spends it, and beats fixed rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adplatform.decision.replay import Bidder, Dual, Linear, Log, Receding, replay_auctions
from adplatform.decision.types import DecisionError


def market(seed: int, size: int = 40_000) -> Log:
    """Predictions of a log-normal spread, prices that follow them loosely and by the hour, true clicks."""
    rng = np.random.default_rng(seed)
    pctr = np.minimum(0.004 * rng.lognormal(0, 0.9, size), 0.5)
    hour = 1 + 0.5 * np.sin(np.arange(size) * 2 * np.pi * 3 / size)
    price = 50 * hour * (pctr / 0.004) ** 0.4 * rng.lognormal(-0.2, 0.7, size)
    return Log((rng.random(size) < pctr).astype(float), np.round(price, 3), pctr)


def log(*rows: tuple[float, float, float]) -> Log:
    return Log(*(np.array(column, float) for column in zip(*rows, strict=True)))


def test_a_bid_that_reaches_the_price_wins_and_pays_the_price() -> None:
    auctions = log((1, 50, 0.5), (0, 51, 0.5), (1, 20, 0.1), (0, 0, 0.0))
    bought = replay_auctions(auctions, budget=1_000, bidder=Linear(100))
    assert (bought.auctions, bought.impressions, bought.clicks) == (4, 2, 1)
    assert (bought.value, bought.spend, bought.spend_ratio) == (0.5, 50, 0.05)


def test_what_is_left_limits_every_bid() -> None:
    auctions = log((1, 60, 1.0), (1, 50, 1.0), (1, 40, 1.0), (1, 1, 1.0))
    bought = replay_auctions(auctions, budget=100, bidder=Linear(1_000))
    assert (bought.impressions, bought.spend) == (2, 100)  # 60, not 50, 40, nothing left for 1


def test_each_period_has_its_own_budget() -> None:
    auctions = log(*[(1, 10, 1.0)] * 5)
    bought = replay_auctions(auctions, budget=10, bidder=Linear(1_000), period=2)
    # One of two, one of two, and half a budget for the last one alone: too little.
    assert (bought.impressions, bought.budget) == (2, 25)


@pytest.mark.parametrize(
    "columns", [([1], [1, 2], [1]), ([1], [-1], [1]), ([1], [np.nan], [1]), ([1], [1], [np.inf])]
)
def test_a_log_that_is_no_log_is_refused(columns: tuple[list[float], ...]) -> None:
    with pytest.raises(DecisionError):
        Log(*(np.array(column, float) for column in columns))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 50),
    share=st.floats(0.001, 2),
    period=st.sampled_from((None, 7, 300)),
    tick=st.sampled_from((None, 1, 64)),
    ours=st.booleans(),
)
def test_no_budget_is_ever_overspent(
    seed: int, share: float, period: int | None, tick: int | None, ours: bool
):
    auctions = market(seed, 700)
    budget = share * float(auctions.price.mean()) * (period or len(auctions))
    bidder: Bidder = Receding(1.0, most=1e12) if ours else Dual(20_000, most=3)
    bought = replay_auctions(auctions, budget=budget, bidder=bidder, period=period, tick=tick)
    assert bought.spend <= bought.budget * (1 + 1e-12)
    assert bought.impressions <= len(auctions)


@pytest.mark.parametrize("share", [1 / 16, 1 / 4])
@pytest.mark.parametrize("period", [None, 2_000])
def test_our_bidder_beats_the_best_fixed_rule_and_spends_its_budget(share: float, period: int | None) -> None:
    auctions = market(1)
    budget = share * float(auctions.price.mean()) * (period or len(auctions))

    def bought(bidder: Bidder):
        return replay_auctions(auctions, budget=budget, bidder=bidder, period=period)

    ecpc = float(auctions.price.sum() / auctions.click.sum())
    mcpc = bought(Linear(ecpc))
    # The factor of `lin` is the best in hindsight, which no bidder could know.
    lin = max((bought(Linear(ecpc * factor)) for factor in np.geomspace(0.05, 3, 25)), key=lambda b: b.value)
    receding, dual = bought(Receding(1.0, most=1e12)), bought(Dual(ecpc, most=3))
    assert receding.spend_ratio > 0.98
    assert dual.spend_ratio > 0.97
    assert receding.value > 1.03 * mcpc.value
    assert min(receding.value, dual.value) > 0.99 * lin.value
    assert receding.value > 0.98 * dual.value


def test_a_limit_on_the_worth_of_a_click_is_kept_where_the_budget_does_not_bind() -> None:
    auctions = market(2)
    limit = 5_000.0
    capped = replay_auctions(auctions, budget=1e12, bidder=Receding(limit, most=1.0), tick=500)
    free = replay_auctions(auctions, budget=1e12, bidder=Linear(limit), tick=500)
    # But for the first tick, in which nothing is known, it bids the limit itself.
    assert capped.impressions == pytest.approx(free.impressions, abs=500)
    paid = capped.spend / capped.value
    assert paid < limit
