"""A range is whole local days; the hours of neighbouring ranges neither overlap nor leave a gap."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.insights.metrics import Range, RangeError, Totals, change, range_from

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Chatham"])
DAYS = st.dates(date(2025, 1, 1), date(2027, 12, 31))
AT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


def test_a_day_of_berlin_in_winter_starts_at_23_utc() -> None:
    day = Range(date(2026, 1, 15), date(2026, 1, 15), "Europe/Berlin")
    assert (day.start_at, day.end_at) == (
        datetime(2026, 1, 14, 23, tzinfo=UTC),
        datetime(2026, 1, 15, 23, tzinfo=UTC),
    )


def test_the_day_the_clocks_change_has_23_hours() -> None:
    assert len(list(Range(date(2026, 3, 29), date(2026, 3, 29), "Europe/Berlin").hours())) == 23


def test_the_previous_range_has_as_many_days_and_ends_the_day_before() -> None:
    assert Range(date(2026, 3, 1), date(2026, 3, 31)).previous() == Range(
        date(2026, 1, 29), date(2026, 2, 28)
    )


@given(DAYS, st.integers(1, 40), ZONES)
def test_a_range_and_the_one_before_share_their_border(end: date, days: int, zone: str) -> None:
    later = Range(end - timedelta(days=days - 1), end, zone)
    earlier = later.previous()
    assert earlier.end_at == later.start_at
    assert earlier.day_count == later.day_count == days


@given(DAYS, st.integers(1, 10), ZONES)
def test_the_hours_of_its_days_are_the_hours_of_the_range(end: date, days: int, zone: str) -> None:
    whole = Range(end - timedelta(days=days - 1), end, zone)
    parts = [hour for day in whole.days() for hour in Range(day, day, zone).hours()]
    assert parts == list(whole.hours())


def test_a_page_without_dates_shows_30_local_days() -> None:
    # 23:30 UTC is already the next day in Berlin.
    assert range_from({}, zone="Europe/Berlin", at=AT) == Range(
        date(2026, 2, 1), date(2026, 3, 2), "Europe/Berlin"
    )


def test_dates_in_the_address_are_read_and_written_alike() -> None:
    wanted = Range(date(2026, 2, 3), date(2026, 2, 5))
    parameters = dict(pair.split("=") for pair in wanted.query.split("&"))
    assert range_from(parameters, zone="UTC", at=AT) == wanted


@pytest.mark.parametrize(
    "parameters",
    [
        {"from": "yesterday"},
        {"to": "2026-02-30"},
        {"from": "2026-02-05", "to": "2026-02-03"},
        {"from": "2020-01-01", "to": "2026-01-01"},
    ],
)
def test_what_is_no_range_is_refused_in_words(parameters: dict[str, str]) -> None:
    with pytest.raises(RangeError, match=r"\.$"):
        range_from(parameters, zone="UTC", at=AT)


def test_ratios_come_from_sums_and_are_unknown_without_a_divisor() -> None:
    total = Totals(
        impressions=2_000,
        clicks=30,
        conversions=3,
        spend_micros=6_000_000,
        revenue_micros=15_000_000,
        views=1_000,
        earned_micros=4_200_000,
    )
    assert (total.ctr, total.cvr, total.roas, total.roi, total.viewability) == (0.015, 0.1, 2.5, 1.5, 0.5)
    assert (total.cpc_micros, total.cpm_micros, total.cpa_micros, total.ecpm_micros) == (
        200_000,
        3_000_000,
        2_000_000,
        2_100_000,
    )
    empty = Totals()
    assert {
        empty.ctr,
        empty.cvr,
        empty.roas,
        empty.roi,
        empty.cpc_micros,
        empty.cpm_micros,
        empty.cpa_micros,
        empty.ecpm_micros,
    } == {None}


def test_change_is_unknown_where_there_was_nothing() -> None:
    assert (change(3, 2), change(1, 2), change(1, 0), change(None, 2)) == (0.5, -0.5, None, None)
