"""What winners pay."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.auction import (
    AUCTIONS,
    click_charge_micros,
    first_price,
    impression_charge_micros,
    second_price,
    vcg,
)

ONE = [1.0]
ranked_scores = st.lists(st.floats(1, 1e9), min_size=1, max_size=6).map(lambda s: sorted(s, reverse=True))
shares = st.lists(st.floats(0.05, 1), min_size=1, max_size=4).map(lambda w: sorted(w, reverse=True))


def test_the_winner_pays_the_runner_up() -> None:
    # 900 is nobody's bid: it proves that the price is the second bid and not the floor.
    assert second_price([1_500, 1_200], [900, 900], ONE) == [1_200]


def test_without_a_runner_up_the_winner_pays_the_floor() -> None:
    assert second_price([1_500], [900], ONE) == [900]
    assert vcg([1_500], [900], ONE) == [900]


def test_first_price_pays_the_bid() -> None:
    assert first_price([1_500, 1_200], [900, 900], ONE) == [1_500]


def test_each_place_of_a_second_price_pays_the_next() -> None:
    assert second_price([9, 7, 4], [1, 1, 1], [1.0, 1.0]) == [7, 4]


def test_vcg_charges_the_harm_to_the_others() -> None:
    # Two places, the second half as good. First: pushes 7 from 1.0 to 0.5 and 4 from 0.5 to none.
    assert vcg([9, 7, 4], [0, 0, 0], [1.0, 0.5]) == [0.5 * 7 + 0.5 * 4, 4]


@given(scores=ranked_scores, floor=st.floats(0, 1e9))
def test_vcg_of_one_place_is_the_second_price(scores: list[float], floor: float) -> None:
    floors = [min(floor, scores[0])] * len(scores)
    assert vcg(scores, floors, ONE) == second_price(scores, floors, ONE)


@pytest.mark.parametrize("name", AUCTIONS)
@given(scores=ranked_scores, weights=shares, share=st.just(0.0) | st.floats(1e-9, 1))
def test_a_price_lies_between_floor_and_bid(
    name: str, scores: list[float], weights: list[float], share: float
) -> None:
    floor = share * scores[-1]
    prices = AUCTIONS[name](scores, [floor] * len(scores), weights)
    assert len(prices) == min(len(scores), len(weights))
    for price, score in zip(prices, scores, strict=False):
        assert floor <= price * (1 + 1e-12)
        assert price <= score


def utility(worth: float, bid: float, others: list[float], floor: float, weights: list[float]) -> float:
    """What a bidder of VCG gains: its share of attention times (worth − price)."""
    if bid < floor:
        return 0.0
    scores = sorted([bid, *(other for other in others if other >= floor)], reverse=True)
    place = scores.index(bid)
    prices = vcg(scores, [floor] * len(scores), weights)
    return weights[place] * (worth - prices[place]) if place < len(prices) else 0.0


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.4], [1.0, 0.6, 0.3], [1.0, 1.0]])
@pytest.mark.parametrize("floor", [0.0, 2.5])
def test_in_vcg_no_lie_beats_the_truth(weights: list[float], floor: float) -> None:
    # Halves are nobody's worth, so no comparison rests on a tie.
    for others in itertools.combinations_with_replacement([1, 2, 3, 4, 5], 3):
        for worth in (0.5, 1.5, 2.5, 3.5, 4.5, 5.5):
            honest = utility(worth, worth, list(others), floor, weights)
            for lie in (0.5, 1.5, 2.5, 3.5, 4.5, 5.5):
                assert utility(worth, lie, list(others), floor, weights) <= honest + 1e-12


def test_an_impression_owes_a_thousandth_rounded_up() -> None:
    assert impression_charge_micros(1_234_001, most_micros=9_999) == 1_235
    assert impression_charge_micros(1_234_000, most_micros=9_999) == 1_234


def test_rounding_up_never_passes_the_bid() -> None:
    assert impression_charge_micros(1_400, most_micros=1) == 1
    assert click_charge_micros(1_000_000, pctr=0.0003, most_micros=3_333_333) == 3_333_333


def test_a_click_owes_what_a_thousand_impressions_cost_by_the_clicks_they_bring() -> None:
    # 2.00 per 1,000 impressions at 1 % is 0.20 a click.
    assert click_charge_micros(2_000_000, pctr=0.01, most_micros=1_000_000) == 200_000


@given(price=st.integers(0, 10**9), most=st.integers(0, 10**9), pctr=st.floats(1e-5, 0.5))
def test_charges_are_whole_micros_that_cover_the_price_up_to_the_bid(
    price: int, most: int, pctr: float
) -> None:
    impression = impression_charge_micros(price, most_micros=most)
    assert impression == min(-(-price // 1000), most)
    click = click_charge_micros(price, pctr=pctr, most_micros=most)
    assert click <= most
    assert click == most or click * 1000 * pctr >= price * (1 - 1e-8)
