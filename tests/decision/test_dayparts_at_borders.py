"""Hours of the week where clocks change: what a schedule says is what the wall clock of its zone says, to the second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.candidates import CandidateSet
from adplatform.decision.eligibility import rejection
from adplatform.decision.targeting import parse
from adplatform.decision.types import NoAd, Seen, Taken
from tests.decision.factories import candidate, request, slot

# (zone, the second at which its clocks change in 2026): by an hour, by half an hour, and at midnight.
CHANGES = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    (
        "Asia/Kathmandu",
        datetime(2026, 3, 29, 18, 15, tzinfo=UTC),
    ),  # no change, but midnight at a quarter past
]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@given(
    change=st.sampled_from(CHANGES),
    seconds=st.lists(st.integers(-3 * 3_600, 3 * 3_600), min_size=1, max_size=8),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=6),
)
def test_bitmaps_and_rules_follow_the_wall_clock_across_a_change(
    change: tuple[str, datetime], seconds: list[int], hours: set[int]
) -> None:
    """In any order of requests, since the bitmap of a quarter of an hour is kept."""
    zone, moment = change
    rules = parse({"daypart": {day: sorted(hours) for day in DAYS}})
    scheduled = candidate(1, targeting=rules, time_zone=zone)
    fixed = CandidateSet([scheduled, candidate(2)])
    for second in [*seconds, -1, 0]:
        asked = request(at=moment + timedelta(seconds=second))
        is_open = asked.at.astimezone(ZoneInfo(zone)).hour in hours
        alive, _ = fixed.eligibility.eligible(asked, slot(), Seen(), Taken())
        assert alive == (0b11 if is_open else 0b10)
        said = rejection(asked, slot(), scheduled, Seen(), Taken())
        assert said is (None if is_open else NoAd.OUTSIDE_DAYPART)


@pytest.mark.parametrize(("zone", "day", "open_seconds"), [
    ("Europe/Berlin", "2026-03-29", 0),  # 2 o'clock never comes
    ("Europe/Berlin", "2026-10-25", 7_200),  # it comes twice
    ("Europe/Berlin", "2026-06-15", 3_600),
    ("Australia/Lord_Howe", "2026-10-04", 1_800),  # its first half is skipped
])  # fmt: skip
def test_an_hour_that_is_skipped_never_serves_and_one_that_is_repeated_serves_twice(
    zone: str, day: str, open_seconds: int
) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rules = parse({"daypart": {name: [2] for name in DAYS}})
    scheduled = candidate(1, targeting=rules, time_zone=zone)
    moments = [midnight + timedelta(minutes=minute) for minute in range(0, 24 * 60, 5)]
    served = [rejection(request(at=at), slot(), scheduled, Seen(), Taken()) is None for at in moments]
    assert sum(served) * 300 == open_seconds
