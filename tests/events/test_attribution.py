"""The last click in its window, else the last view in its window, else nobody."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.events.attribution import Touch, credited
from tests.factories import NOON


def touch(kind: str, days: float, name: str = "") -> Touch:
    """A touch this many days before the conversion."""
    return Touch(kind, name or f"{kind}{days}", NOON - timedelta(days=days), 1, 1, 1, 1, 1, 1, "USD", "live")


def winner(*touches: Touch) -> str | None:
    found = credited(
        touches, converted_at=NOON, click_window=timedelta(days=30), view_window=timedelta(days=1)
    )
    return found.decision_id if found else None


@pytest.mark.parametrize(
    ("touches", "expected"),
    [
        ((), None),
        ((touch("click", 3), touch("click", 2)), "click2"),
        ((touch("view", 0.1), touch("click", 29)), "click29"),
        ((touch("view", 0.9), touch("view", 0.1)), "view0.1"),
        ((touch("click", 30),), "click30"),
        ((touch("click", 30.001),), None),
        ((touch("view", 1.001),), None),
        ((touch("click", -0.001),), None),
        ((touch("click", 31), touch("view", 0.5)), "view0.5"),
    ],
)
def test_who_gets_the_credit(touches: tuple[Touch, ...], expected: str | None) -> None:
    assert winner(*touches) == expected


@given(st.lists(st.tuples(st.sampled_from(["click", "view"]), st.integers(-2, 40)), max_size=8), st.randoms())
def test_order_of_arrival_changes_nothing(drawn, rng) -> None:
    touches = [touch(kind, days, f"{number}") for number, (kind, days) in enumerate(drawn)]
    expected = winner(*touches)
    rng.shuffle(touches)
    assert winner(*touches) == expected
