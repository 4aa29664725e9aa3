"""The shape of traffic over the week: learned, smoothed, and cut at any two moments."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.bidding import traffic
from adplatform.bidding.traffic import WEEK_HOURS, Traffic
from tests import factories
from tests.factories import NOON

EVEN = Traffic(np.ones(WEEK_HOURS))
# Monday 12:00 of an arbitrary week.
MONDAY_NOON = NOON
moments = st.timedeltas(timedelta(days=-200), timedelta(days=200)).map(lambda away: NOON + away)


def test_even_traffic_is_time() -> None:
    assert EVEN.between(NOON, NOON + timedelta(hours=36, minutes=30)) == pytest.approx(36.5)
    assert EVEN.between(NOON, NOON - timedelta(hours=1)) == 0


def test_parts_of_an_hour_and_the_end_of_the_week() -> None:
    weights = np.ones(WEEK_HOURS)
    weights[12] = 10  # Monday 12 to 13
    shape = Traffic(weights)
    assert shape.between(MONDAY_NOON, MONDAY_NOON + timedelta(minutes=30)) == pytest.approx(5)
    assert shape.between(
        MONDAY_NOON - timedelta(minutes=30), MONDAY_NOON + timedelta(hours=1)
    ) == pytest.approx(10.5)
    assert shape.between(MONDAY_NOON, MONDAY_NOON + timedelta(weeks=3)) == pytest.approx(3 * weights.sum())


@given(st.tuples(moments, moments, moments).map(sorted))
def test_traffic_adds_up(times: list[datetime]) -> None:
    shape = Traffic(np.arange(1.0, WEEK_HOURS + 1))
    first, second, third = times
    whole = shape.between(first, third)
    assert shape.between(first, second) + shape.between(second, third) == pytest.approx(whole, abs=1e-6)


def test_smoothing_keeps_the_mean_and_leans_on_the_hour() -> None:
    requests, seen = np.zeros(WEEK_HOURS), np.full(WEEK_HOURS, 4.0)
    requests[9::24] = 400  # nine o'clock of every day
    requests[9] = 0  # but not on Mondays

    weights = traffic.smoothed(requests, seen)

    assert weights.mean() == pytest.approx(1)
    assert weights[9 + 24] > weights[9] > weights[10] > 0


def test_nothing_known_is_even() -> None:
    assert traffic.smoothed(np.zeros(WEEK_HOURS), np.zeros(WEEK_HOURS)).tolist() == [1.0] * WEEK_HOURS


@pytest.mark.django_db
def test_the_shape_is_learned_from_requests() -> None:
    slot = factories.slot()
    for days in range(1, 15):
        factories.fill_stat(slot, hour=NOON - timedelta(days=days), requests=100)
        factories.fill_stat(slot, hour=NOON - timedelta(days=days, hours=9), requests=10)  # 3 in the night
    factories.fill_stat(slot, hour=NOON - timedelta(days=1), requests=10_000, source="import", reason="x")

    shape = traffic.learn(NOON + timedelta(minutes=5))

    hour = timedelta(hours=1)
    noon, night, empty = (
        shape.between(start, start + hour) for start in (NOON, NOON - 9 * hour, NOON - 5 * hour)
    )
    assert noon > 5 * night > 5 * empty > 0


@pytest.mark.django_db
def test_without_requests_traffic_is_even() -> None:
    assert traffic.learn(NOON).weights.tolist() == [1.0] * WEEK_HOURS
