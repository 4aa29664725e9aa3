"""What a publisher demands holds in every decision: blocks, floors by country and device, one ad per advertiser, and
variety, which orders ads and raises no price."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision import variety
from adplatform.decision.bitmaps import EligibilityIndex
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.engine import decide
from adplatform.decision.floors import Floor, ordered, placed
from adplatform.decision.reasons import NoAd
from adplatform.decision.types import Seen, Taken

from . import strategies as some
from .factories import TableScorer, candidate, request, slot

BLOCKS = ("blocked_advertisers", "blocked_categories", "blocked_domains", "blocked_attributes")


@given(people=some.candidate_lists(20), ask=some.requests, name=st.sampled_from(BLOCKS))
def test_taking_a_block_away_only_adds_candidates(people, ask, name: str) -> None:
    index = EligibilityIndex(people)
    for placement in ask.placements:
        before, _ = index.eligible(ask, placement.slot, Seen(), Taken())
        freed = replace(placement.slot, **{name: frozenset()})
        after, _ = index.eligible(ask, freed, Seen(), Taken())
        assert before & ~after == 0


@given(people=some.candidate_lists(20), ask=some.requests, shown=st.lists(st.integers(1, 20), max_size=3))
def test_a_higher_limit_and_fewer_competitors_only_add_candidates(people, ask, shown) -> None:
    index = EligibilityIndex(people)
    taken = Taken(tuple(one for one in people if one.creative_id in shown))
    for placement in ask.placements:
        before, _ = index.eligible(ask, placement.slot, Seen(), taken)
        for loose in ({"per_advertiser": 10}, {"separates_categories": False}, {"rivals": frozenset()}):
            after, _ = index.eligible(ask, replace(placement.slot, **loose), Seen(), taken)
            assert before & ~after == 0


FLOORS = ordered(
    [
        Floor(100, is_of_slot=True),
        Floor(200, country="DE"),
        Floor(300, device="mobile"),
        Floor(400, country="DE", device="mobile"),
        Floor(500, is_of_slot=True, country="FR"),
        Floor(600, is_of_slot=True, country="FR", device="mobile"),
    ]
)


@pytest.mark.parametrize(
    ("country", "device", "micros"),
    [
        ("", "unknown", 100),
        (
            "DE",
            "desktop",
            100,
        ),  # the slot's own floor and the site's for DE name one thing each: the slot counts first
        ("US", "mobile", 100),
        ("DE", "mobile", 400),
        ("FR", "desktop", 500),
        ("FR", "mobile", 600),
    ],
)
def test_the_floor_that_names_most_holds(country: str, device: str, micros: int) -> None:
    ask = request(slot(floors=FLOORS), country=country, device=device)
    assert placed(ask.placements[0], ask).slot == slot(floor_micros=micros)


def test_without_a_rule_that_fits_the_slots_own_floor_holds() -> None:
    ask = request(slot(floor_micros=7, floors=ordered([Floor(9, country="DE")])), country="FR")
    assert placed(ask.placements[0], ask).slot == slot(floor_micros=7)
    bare = request().placements[0]
    assert placed(bare, request()) is bare


def test_the_floor_that_held_is_charged_and_recorded() -> None:
    ask = request(slot(floor_micros=100_000, floors=ordered([Floor(700_000, country="DE")])), country="DE")
    (outcome,) = decide(
        request=ask, candidates=[candidate(1)], seen=Seen(), scorer=TableScorer(), rng=Random(1)
    ).outcomes
    assert outcome.placement.slot.floor_micros == 700_000
    assert (outcome.picks[0].floor_micros, outcome.picks[0].price_micros) == (700_000, 700_000)
    dear = replace(ask, placements=(replace(ask.placements[0], slot=slot(floors=(("DE", "", 1_000_001),))),))
    (outcome,) = decide(
        request=dear, candidates=[candidate(1)], seen=Seen(), scorer=TableScorer(), rng=Random(1)
    ).outcomes
    assert outcome.no_ad is NoAd.BELOW_FLOOR


def met(advertiser_id: int, times: int) -> Seen:
    return Seen({("advertiser", advertiser_id, variety.WINDOW_SECONDS): times})


def test_variety_lets_another_advertiser_win_and_raises_no_price() -> None:
    people = [candidate(1, bid_micros=1_000_000), candidate(2, bid_micros=600_000)]

    def winner(weight: float, seen: Seen):
        ask = request(slot(floor_micros=50_000, variety=weight))
        ruled = {"request": ask, "candidates": people, "seen": seen, "scorer": TableScorer()}
        return decide(rng=Random(1), epsilon=0.0, **ruled).picks[0]

    assert winner(0.0, met(1, 3)).candidate.creative_id == 1
    assert winner(1.0, met(1, 0)).candidate.creative_id == 1
    other = winner(1.0, met(1, 3))  # the first counts a quarter: 250,000 against 600,000
    assert (other.candidate.creative_id, other.factor, other.price_micros) == (2, 1.0, 250_000)
    still = winner(0.2, met(1, 3))  # 4 ** -0.2 = 0.76: it wins, at no more than it pays without
    assert (still.candidate.creative_id, still.price_micros) == (1, 600_000)
    assert still.among.variety is not None
    assert still.factor == pytest.approx(4**-0.2)


def test_a_category_that_was_seen_counts_half() -> None:
    cars = candidate(1, category="Cars")
    (own, of_category) = variety.counters_of(cars)
    seen = Seen({of_category: 4})
    rows = np.array([0, 1])
    found = variety.factors(CandidateSet([cars, candidate(2)]), rows, 1.0, seen)
    assert found is not None
    assert found.tolist() == [pytest.approx(1 / 3), 1.0]
    assert variety.factors(CandidateSet([cars]), np.array([0]), 0.0, seen) is None
    assert variety.counters_of(candidate(3, category="cars"))[1] == of_category
    assert variety.factors(CandidateSet([cars]), np.array([0]), 1.0, Seen({own: 10**6})).tolist() == [0.1]
