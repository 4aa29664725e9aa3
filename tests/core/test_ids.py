"""Ids that sort by time and clocks that know their zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adplatform.core import clock
from adplatform.core.ids import decided_at, decision_id, public_id

AT = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)


def test_a_decision_id_is_time_then_chance() -> None:
    assert decision_id(AT, lambda n: b"\xab" * n) == f"{1_767_268_800_123:012x}" + "ab" * 10


@given(seconds=st.lists(st.floats(0, 1e10), min_size=2, max_size=2))
def test_later_ids_sort_later(seconds: list[float]) -> None:
    early, late = sorted(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=s) for s in seconds)
    assert decided_at(decision_id(early)) <= early
    if late - early >= timedelta(milliseconds=1):
        assert decision_id(early) < decision_id(late)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({decision_id(AT) for _ in range(1_000)}) == 1_000
    assert len({public_id("slot") for _ in range(1_000)}) == 1_000


def test_a_public_id_has_no_vowels_and_no_look_alikes() -> None:
    assert all(re.fullmatch(r"slot_[2-9bcdfghjkmnpqrstvwxyz]{12}", public_id("slot")) for _ in range(200))


def test_now_is_aware_and_utc() -> None:
    assert clock.now().utcoffset() == timedelta(0)
