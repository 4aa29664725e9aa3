"""How fast a budget is spent: each step exactly, each guard, and the whole over a day."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.pacing import (
    LEAST_PACE,
    Landscape,
    Pace,
    TargetPace,
    Tick,
    calibration,
    decayed,
    step,
    step_target,
    target_for,
)


def tick(spent: int, target: float = 1_000.0, **more: object) -> Tick:
    return Tick(spent_micros=spent, target_micros=target, **({"opportunities": 100} | more))


def test_a_tick_gets_its_share_of_what_is_left() -> None:
    shares = [0.1, 0.2, 0.3, 0.4]
    assert target_for(1_000, shares, 0) == pytest.approx(100)
    # 500 left before the last two: their shares are re-normalised to 3/7 and 4/7.
    assert target_for(700, shares, 2) == pytest.approx(300)
    assert target_for(700, shares, 3) == pytest.approx(700)
    assert target_for(700, [1.0, 0.0], 1) == 700


def test_spending_a_fifth_too_much_lowers_the_pace_by_the_mirror_step() -> None:
    assert step(Pace(0.8), tick(1_200)).multiplier == pytest.approx(0.8 * math.exp(-0.3 * 0.2))


def test_spending_too_little_raises_it_but_never_above_a_hard_maximum() -> None:
    assert step(Pace(0.5), tick(500)).multiplier == pytest.approx(0.5 * math.exp(0.15))
    assert step(Pace(1.0), tick(0)).multiplier == 1.0
    assert step(Pace(1.0), tick(0), most=3.0).multiplier == pytest.approx(math.exp(0.3))


def test_an_error_counts_at_most_one_and_a_half() -> None:
    assert step(Pace(0.8), tick(9_999_999)).multiplier == pytest.approx(0.8 * math.exp(-0.45))


def test_one_tick_moves_the_pace_at_most_to_three_fifths() -> None:
    assert step(Pace(0.8, eta=0.6), tick(9_999_999)).multiplier == pytest.approx(0.8 * 0.6)


def test_small_errors_change_nothing() -> None:
    assert step(Pace(0.8), tick(1_049)).multiplier == 0.8


def test_thin_ticks_are_added_up_until_they_say_something() -> None:
    pace = Pace(0.5)
    for _ in range(2):
        pace = step(pace, tick(0, 100, opportunities=9))
        assert pace.multiplier == 0.5
    # 27 opportunities and still nothing of 300 spent: full error.
    pace = step(pace, tick(0, 100, opportunities=9))
    assert pace.multiplier == pytest.approx(0.5 * math.exp(0.3))
    assert (pace.carried_opportunities, pace.carried_target_micros) == (0, 0)


def test_one_spend_is_enough_to_learn_from() -> None:
    assert step(Pace(0.5), tick(200, 100, opportunities=1)).multiplier < 0.5


@pytest.mark.parametrize("hold", [{"is_delayed": True}, {"budget_left": 0.009}, {"traffic_left": 0.009}])
def test_late_events_and_the_end_hold_the_pace(hold: dict[str, object]) -> None:
    assert step(Pace(0.5), tick(9_000, **hold)) == Pace(0.5)


def test_a_swinging_pace_takes_smaller_steps_and_a_steady_one_larger() -> None:
    swinging, climbing = Pace(0.5), Pace(0.1)
    for n in range(10):
        swinging = step(swinging, tick(1_500 if n % 2 else 600))
        climbing = step(climbing, tick(800))
    assert swinging.eta < 0.3 < climbing.eta


@given(errors=st.lists(st.floats(-1, 20), max_size=60), most=st.sampled_from((1.0, 3.0)))
def test_a_pace_stays_in_its_bounds(errors: list[float], most: float) -> None:
    pace = Pace()
    for error in errors:
        before = pace.multiplier
        pace = step(pace, tick(round(1_000 * (1 + error))), most=most)
        assert LEAST_PACE <= pace.multiplier <= most
        assert 0.6 * before * (1 - 1e-12) <= max(pace.multiplier, LEAST_PACE)
        assert pace.multiplier <= 1.5 * before * (1 + 1e-12)
        assert 0.05 <= pace.eta <= 0.6


def test_a_pace_is_stored_between_ticks_as_plain_data() -> None:
    pace = step(step(Pace(0.5), tick(2_000)), tick(0, 50, opportunities=3))
    assert Pace.from_state(json.loads(json.dumps(pace.as_state()))) == pace
    assert Pace.from_state({}) == Pace()


def test_without_news_a_server_slows_down_to_the_median() -> None:
    paces = [decayed(0.8, median=0.6, ticks_missed=n) for n in range(7)]
    assert paces == pytest.approx([0.8, 0.8, 0.8, 0.72, 0.648, 0.6, 0.6])
    assert decayed(0.4, median=0.6, ticks_missed=99) == 0.4


def test_a_day_with_a_strong_rhythm_is_spent_evenly_over_its_traffic() -> None:
    rng = np.random.default_rng(4)
    shares = 1 + 0.8 * np.sin(np.arange(288) * 2 * np.pi / 288)
    shares /= shares.sum()
    budget = left = 50_000_000.0
    pace, spent_by_tick = Pace(0.5), []
    for n in range(288):
        target = target_for(left, shares.tolist(), n)
        auctions = rng.poisson(200_000 * shares[n])
        # Bids of 1,000 · k meet log-normal prices.
        price = rng.lognormal(5.6, 0.8, auctions)
        spent = min(left, float(price[price <= 1_000 * pace.multiplier].sum()))
        left -= spent
        spent_by_tick.append(spent)
        pace = step(
            pace,
            Tick(
                spent_micros=round(spent),
                target_micros=target,
                opportunities=auctions,
                budget_left=left / budget,
                traffic_left=float(shares[n + 1 :].sum()),
            ),
        )
    assert left / budget < 0.01
    drift = np.cumsum(spent_by_tick) / budget - np.cumsum(shares)
    assert np.abs(drift).max() < 0.03


# ------------------------------------------------------------------------------- with a target cost


def test_a_target_begins_careful() -> None:
    assert TargetPace().multiplier == pytest.approx(1.0)
    assert TargetPace(log_mu=-5).multiplier == pytest.approx(1.5)


def test_costs_above_the_target_lower_the_bid_towards_it_and_costs_below_raise_it() -> None:
    free = TargetPace(log_mu=-math.log(3))  # the budget does not bind
    over = step_target(free, tick(0, 0), spent_total_micros=1_500, worth_total_micros=1_000)
    under = step_target(free, tick(0, 0), spent_total_micros=500, worth_total_micros=1_000)
    assert over.multiplier < free.multiplier < under.multiplier
    assert over.log_lambda == pytest.approx(math.log(2) + 0.3)


def test_a_target_is_met_while_the_budget_is_not_reached() -> None:
    rng = np.random.default_rng(5)
    pace, spent, worth = TargetPace(), 0.0, 0.0
    for _ in range(300):
        values = rng.lognormal(0, 0.5, 400)
        prices = rng.lognormal(0.4, 0.6, 400)
        won = pace.multiplier * values >= prices
        tick_spent = float(prices[won].sum())
        spent, worth = spent + tick_spent, worth + float(values[won].sum())
        pace = step_target(
            pace,
            tick(round(tick_spent), 1e9),
            spent_total_micros=spent,
            worth_total_micros=worth,
        )
    assert 0.9 < spent / worth < 1.03


def test_calibration_is_shy_of_little_evidence() -> None:
    assert calibration(0, 0) == 1
    assert calibration(15, 5) == 2
    assert calibration(0, 1_000) == 0.5


# ----------------------------------------------------------------------------- where prices are known

WORTH, PRICE = np.array([10.0, 10.0, 20.0, 5.0]), np.array([5.0, 12.0, 8.0, 10.0])
# Ratios 0.5, 1.2, 0.4, 2.0: in order of ratio they cost 8, 5, 12, 10, cumulated 8, 13, 25, 35.


@pytest.mark.parametrize(("spend", "multiplier"), [(1, 0.4), (2, 0.4), (3.25, 0.5), (3.3, 1.2), (9, 1.5)])
def test_the_landscape_gives_the_least_bid_that_spends_the_budget(spend: float, multiplier: float) -> None:
    assert Landscape.of(WORTH, PRICE).for_budget(spend, most=1.5) == pytest.approx(multiplier)


def test_the_landscape_gives_the_highest_bid_that_keeps_the_target() -> None:
    landscape = Landscape.of(WORTH, PRICE)
    # Cumulated cost 8, 13, 25, 35 against worth 20, 30, 40, 45: all keep it, so the limit decides.
    assert landscape.for_target(4, 0, 0, most=3.0) == 3.0
    # Having overspent by 20, no more than 10 of surplus may be lost again.
    assert landscape.for_target(4, 12, 0, most=3.0, margin=1.0) == pytest.approx(1.2)
    assert landscape.for_target(4, 99, 0, most=3.0) == LEAST_PACE


@given(
    auctions=st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=1, max_size=40),
    rate=st.floats(0.001, 5),
)
def test_a_solved_bid_spends_what_is_wanted_and_no_lower_bid_does(
    auctions: list[tuple[float, float]], rate: float
) -> None:
    worth, price = (np.array(column) for column in zip(*auctions, strict=True))

    def spend(multiplier: float) -> float:
        return float(price[price / worth <= multiplier].sum() / len(price))

    solved = Landscape.of(worth, price).for_budget(rate, most=1e9)
    if solved < 1e9:
        assert spend(solved) >= rate - 1e-9
        assert spend(solved * (1 - 1e-9)) <= rate + 1e-9
    else:
        assert spend(1e9) < rate + 1e-9
