"""What a line item bids for one impression, by strategy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.bidding import bid_for, bids_for, shade
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.types import BidStrategy, Scores

from . import strategies as some
from .factories import candidate


def bid(strategy: BidStrategy, **changes: object) -> tuple[int, int, str]:
    one = candidate(bid_strategy=strategy, **changes)
    made = bid_for(one, pctr=0.01, pcvr=0.1)
    return made.ecpm_micros, made.most_micros, made.price_kind


@pytest.mark.parametrize(
    ("strategy", "changes", "wanted"),
    [
        # 2.00 for 1,000 impressions: at most 0.002 for one.
        (BidStrategy.MANUAL_CPM, {"bid_micros": 2_000_000}, (2_000_000, 2_000, "cpm")),
        (BidStrategy.MANUAL_CPM, {"bid_micros": 2_000_000, "pace": 0.5}, (1_000_000, 1_000, "cpm")),
        (BidStrategy.MANUAL_CPM, {"bid_micros": 2_000_000, "pace": 2.0}, (2_000_000, 2_000, "cpm")),
        # 0.50 a click at 1 %: 5.00 for 1,000 impressions.
        (BidStrategy.MANUAL_CPC, {"bid_micros": 500_000}, (5_000_000, 500_000, "cpc")),
        (BidStrategy.MANUAL_CPC, {"bid_micros": 500_000, "pace": 3.0}, (5_000_000, 500_000, "cpc")),
        (BidStrategy.MAXIMISE_CLICKS, {"bid_micros": 500_000, "pace": 2.0}, (5_000_000, 500_000, "cpc")),
        (BidStrategy.MAXIMISE_CLICKS, {"bid_micros": 500_000, "pace": 0.5}, (2_500_000, 250_000, "cpc")),
        # 20.00 a conversion at 10 % of clicks: 2.00 a click.
        (BidStrategy.TARGET_CPA, {"bid_micros": 20_000_000}, (20_000_000, 2_000_000, "cpc")),
        (
            BidStrategy.MAXIMISE_CONVERSIONS,
            {"bid_micros": 20_000_000, "pace": 0.5},
            (10_000_000, 1_000_000, "cpc"),
        ),
        # A conversion worth 60.00 at a return of 400 % may cost 15.00.
        (
            BidStrategy.TARGET_ROAS,
            {"value_micros": 60_000_000, "target_roas_bp": 40_000, "bid_micros": 7},
            (15_000_000, 1_500_000, "cpc"),
        ),
    ],
)
def test_a_bid_by_strategy(
    strategy: BidStrategy, changes: dict[str, object], wanted: tuple[int, int, str]
) -> None:
    assert bid(strategy, **changes) == wanted


@given(people=some.candidate_lists(), chance=some.chances)
def test_many_bids_are_the_single_bids(people, chance) -> None:
    pctr = np.array([chance.uniform(1e-4, 0.3) for _ in people])
    pcvr = np.array([chance.uniform(0, 0.3) for _ in people])
    fixed = CandidateSet(people)
    scores = Scores(text=pctr, pctr=pctr, pcvr=pcvr, sd=pctr)
    many = bids_for(fixed, np.arange(len(people)), scores, fixed.pace)
    for row, one in enumerate(people):
        single = bid_for(one, pctr=float(pctr[row]), pcvr=float(pcvr[row]))
        assert (int(many.ecpm[row]), int(many.most[row])) == (single.ecpm_micros, single.most_micros)
        unpaced = bid_for(replace(one, pace=1.0), pctr=float(pctr[row]), pcvr=float(pcvr[row]))
        assert int(many.unpaced[row]) == unpaced.ecpm_micros


def test_shading_bids_the_observed_price_with_most_profit() -> None:
    # At 100: bid 10 wins 1 of 4 (profit 90), 40 wins 2 (120), 50 wins 3 (150), 95 wins 4 (20).
    assert shade(100, np.array([10.0, 40.0, 50.0, 95.0])) == 50


def test_shading_has_nothing_to_shade_below_the_market() -> None:
    assert shade(100, np.array([100.0, 150.0])) == 100


@given(value=st.floats(1, 1000), market=st.lists(st.floats(1, 1000), min_size=1, max_size=30).map(sorted))
def test_no_bid_on_the_grid_beats_the_shaded_one(value: float, market: list[float]) -> None:
    prices = np.array(market)

    def profit(bid: float) -> float:
        return (value - bid) * np.sum(prices <= bid)

    best = shade(value, prices)
    assert best <= value
    assert all(profit(bid) <= profit(best) + 1e-9 for bid in [*market, *np.linspace(0, value, 50)])
