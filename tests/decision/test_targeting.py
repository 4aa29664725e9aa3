"""A line item's rules: read, written back, matched; schedules on the wall clock of the campaign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.targeting import TargetingError, as_dict, hour_of_week, match, parse
from adplatform.decision.types import ALL_HOURS, DecisionError, NoAd, Rule, Targeting

from . import strategies as some
from .factories import request, slot

DE = {"include": ["de"]}


def test_the_stored_form_is_read_into_one_spelling() -> None:
    read = parse(
        {
            "country": ["de", "AT"],
            "region": {"exclude": ["de-by"]},
            "language": ["de-AT"],
            "device": ["mobile"],
            "site": [4, "5"],
            "category": ["  Sport  News "],
            "keyword": {"include": ["Straße"], "exclude": ["War"]},
            "segment": [9],
            "daypart": {"mon": [0], "sun": [23]},
        }
    )
    assert read == Targeting(
        country=Rule(frozenset({"DE", "AT"})),
        region=Rule(exclude=frozenset({"DE-BY"})),
        language=Rule(frozenset({"de"})),
        device=Rule(frozenset({"mobile"})),
        site=Rule(frozenset({4, 5})),
        category=Rule(frozenset({"sport news"})),
        keyword=Rule(frozenset({"strasse"}), frozenset({"war"})),
        segment=Rule(frozenset({9})),
        daypart=1 | 1 << 167,
    )


def test_nothing_said_restricts_nothing() -> None:
    assert parse({}) == parse({"country": [], "daypart": {}}) == Targeting()
    assert match(Targeting(), request(), slot()) is None


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(TargetingError) as caught:
        parse(
            {
                "country": ["Germany"],
                "region": ["BY"],
                "language": ["1"],
                "device": ["fridge"],
                "site": [True],
                "segment": ["x"],
                "category": [" "],
                "keyword": {"include": ["a"], "exclude": ["A"]},
                "moon": ["full"],
                "daypart": {"mon": [24]},
            }
        )
    assert set(caught.value.errors) == {
        "country",
        "region",
        "language",
        "device",
        "site",
        "segment",
        "category",
        "keyword",
        "moon",
        "daypart",
    }
    assert caught.value.errors["country"] == "“GERMANY” is not a country code of two letters such as DE."
    assert caught.value.errors["keyword"] == "“a” is both included and excluded."


@pytest.mark.parametrize(
    "data",
    [
        {"country": "DE"},
        {"country": {"only": ["DE"]}},
        {"daypart": [1]},
        {"daypart": {"someday": [1]}},
        {"daypart": {"mon": [True]}},
        {"daypart": {"mon": []}},
    ],
)
def test_a_wrong_shape_is_an_error_not_a_crash(data: dict[str, object]) -> None:
    with pytest.raises(TargetingError):
        parse(data)


@given(chance=some.chances)
def test_rules_are_read_back_as_they_were_written(chance) -> None:
    rules = some.targeting(chance)
    assert parse(as_dict(rules)) == rules


@pytest.mark.parametrize(
    ("data", "ask", "reason"),
    [
        ({"country": ["DE"]}, {"country": "de"}, None),
        ({"country": ["DE"]}, {"country": "FR"}, NoAd.WRONG_COUNTRY),
        ({"country": ["DE"]}, {"country": ""}, NoAd.WRONG_COUNTRY),
        ({"country": {"exclude": ["DE"]}}, {"country": "DE"}, NoAd.WRONG_COUNTRY),
        ({"country": {"exclude": ["DE"]}}, {"country": ""}, None),
        ({"region": ["DE-BE"]}, {"region": "de-be"}, None),
        ({"language": ["de"]}, {"language": "de-CH"}, None),
        ({"language": ["de"]}, {"language": "fr"}, NoAd.WRONG_LANGUAGE),
        ({"device": ["mobile"]}, {"device": "tablet"}, NoAd.WRONG_DEVICE),
        ({"site": [2]}, {}, NoAd.EXCLUDED_SITE),
        ({"category": ["news"]}, {}, None),
        ({"category": {"exclude": ["news"]}}, {}, NoAd.WRONG_CATEGORY),
        ({"keyword": ["running shoes"]}, {"keywords": ("Running  Shoes", "x")}, None),
        ({"keyword": ["shoes"]}, {"keywords": ()}, NoAd.KEYWORD_MISSING),
        ({"keyword": {"exclude": ["war"]}}, {"keywords": ("WAR",)}, NoAd.KEYWORD_EXCLUDED),
        ({"segment": [1, 2]}, {"segments": frozenset({2})}, None),
        ({"segment": [1, 2]}, {"segments": frozenset()}, NoAd.SEGMENT_MISSING),
        ({"segment": {"exclude": [2]}}, {"segments": frozenset({2})}, NoAd.SEGMENT_EXCLUDED),
        # The first broken rule speaks.
        ({"country": ["DE"], "device": ["mobile"]}, {"country": "FR"}, NoAd.WRONG_COUNTRY),
    ],
)
def test_matching(data: dict[str, object], ask: dict[str, object], reason: NoAd | None) -> None:
    assert match(parse(data), request(**ask), slot(categories=frozenset({"News"}))) is reason


# ------------------------------------------------------------------------------------- on the clock


def in_hours(hours: dict[str, list[int]], at: datetime, zone: str) -> bool:
    return match(parse({"daypart": hours}), request(at=at), slot(), time_zone=zone) is None


def test_hours_are_those_of_the_campaigns_zone() -> None:
    monday_nine = {"mon": [9]}
    at = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)  # Monday 09:30 in Berlin, 03:30 in New York
    assert in_hours(monday_nine, at, "Europe/Berlin")
    assert not in_hours(monday_nine, at, "America/New_York")
    assert not in_hours(monday_nine, at, "UTC")


def test_an_hour_begins_at_its_first_moment_and_ends_before_the_next() -> None:
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    for offset, open in [(-1, False), (0, True), (3_599, True), (3_600, False)]:
        assert in_hours({"mon": [9]}, start + timedelta(seconds=offset), "UTC") is open


def test_zones_of_half_and_quarter_hours_shift_inside_the_hour() -> None:
    # Kathmandu is 5:45 ahead: Monday 00:00 there is Sunday 18:15 UTC.
    assert in_hours({"mon": [0]}, datetime(2026, 1, 4, 18, 15, tzinfo=UTC), "Asia/Kathmandu")
    assert not in_hours({"mon": [0]}, datetime(2026, 1, 4, 18, 14, 59, tzinfo=UTC), "Asia/Kathmandu")


def test_the_hour_that_summer_time_skips_never_runs() -> None:
    # Berlin, 29 March 2026: 01:59 is followed by 03:00.
    night = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    open = [in_hours({"sun": [2]}, night + timedelta(minutes=m), "Europe/Berlin") for m in range(0, 180, 15)]
    assert not any(open)
    assert in_hours({"sun": [3]}, datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "Europe/Berlin")


def test_the_hour_that_winter_time_repeats_runs_twice() -> None:
    # Berlin, 25 October 2026: 02:00 to 02:59 comes at 00:00 and again at 01:00 UTC.
    night = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)
    open = [in_hours({"sun": [2]}, night + timedelta(hours=h), "Europe/Berlin") for h in range(5)]
    assert open == [False, True, True, False, False]


def test_a_change_of_half_an_hour_moves_hours_inside_a_quarter() -> None:
    # Lord Howe, 5 April 2026: 02:00 +11 becomes 01:30 +10:30; the hour 1 lasts 90 minutes.
    first = datetime(2026, 4, 4, 14, 0, tzinfo=UTC)
    quarters = [
        in_hours({"sun": [1]}, first + timedelta(minutes=15 * q), "Australia/Lord_Howe") for q in range(8)
    ]
    assert quarters == [True] * 6 + [False] * 2


@given(at=some.moments, zone=st.sampled_from(some.ZONES))
def test_the_hour_of_the_week_is_the_wall_clocks(at: datetime, zone: str) -> None:
    local = at.astimezone(ZoneInfo(zone))
    assert divmod(hour_of_week(at, zone), 24) == (local.weekday(), local.hour)
    assert ALL_HOURS >> hour_of_week(at, zone) & 1


@pytest.mark.parametrize("name", ["Mars/Base", "", "../etc/passwd"])
def test_an_unknown_zone_is_an_error_of_this_package(name: str) -> None:
    with pytest.raises(DecisionError):
        hour_of_week(datetime(2026, 1, 1, tzinfo=UTC), name)
