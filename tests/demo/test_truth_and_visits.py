"""The invented market is seeded: the same seed lives the same day, and its truth moves clicks as it says."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from adplatform.demo.catalogue import market
from adplatform.demo.history import ROUND, rounds
from adplatform.demo.truth import Truth, generate
from adplatform.demo.visits import day_of_visits

DAY = date(2026, 11, 2)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return generate(market(), people=60, seed=7)


def test_the_same_seed_lives_the_same_day(truth: Truth) -> None:
    again = generate(market(), people=60, seed=7)
    assert day_of_visits(truth, market(), DAY, seed=7) == day_of_visits(again, market(), DAY, seed=7)
    assert day_of_visits(truth, market(), DAY, seed=8) != day_of_visits(truth, market(), DAY, seed=7)


def test_every_visit_falls_into_its_day_and_one_round(truth: Truth) -> None:
    visits = day_of_visits(truth, market(), DAY, seed=7)
    chunks = list(rounds(DAY, visits))
    assert visits == [visit for _, chunk in chunks for visit in chunk]
    assert chunks[-1][0] == datetime(2026, 11, 3, tzinfo=UTC)
    assert all(end - ROUND <= visit.at < end for end, chunk in chunks for visit in chunk)


def test_position_fatigue_and_taste_move_the_click(truth: Truth) -> None:
    person, offer = truth.people[0], market().offers[0]
    top = truth.click_probability(person, offer, position=1, seen=0, hour=20)
    assert top > truth.click_probability(person, offer, position=3, seen=0, hour=20)
    assert top > truth.click_probability(person, offer, position=1, seen=4, hour=20)
    lover = max(truth.people, key=lambda one: truth.affinity(one, offer))
    hater = min(truth.people, key=lambda one: truth.affinity(one, offer))
    loved = truth.click_probability(lover, offer, position=2, seen=0, hour=12)
    assert loved > 3 * truth.click_probability(hater, offer, position=2, seen=0, hour=12)
