"""Assignment to arms is stable, has the shares asked for, and is independent over experiments."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.experiments import arm_of, is_held_out, point
from adplatform.decision.types import DecisionError

PINNED = ["a", "b", "a", "b", "b", "a", "b", "b"]
UNITS = [f"visitor-{n}" for n in range(20_000)]


def test_an_assignment_never_changes() -> None:
    # Pinned: people must stay in their arm over restarts and versions.
    assert [arm_of("exp-1", unit, [("a", 5_000), ("b", 5_000)]) for unit in UNITS[:8]] == PINNED


def test_arms_have_their_shares() -> None:
    arms = Counter(arm_of("exp-1", unit, [("a", 2_000), ("b", 3_000)]) for unit in UNITS)
    # Standard error of 4,000 is 57.
    assert arms["a"] == pytest.approx(4_000, abs=250)
    assert arms["b"] == pytest.approx(6_000, abs=280)
    assert arms[None] == pytest.approx(10_000, abs=300)


def test_experiments_are_independent() -> None:
    both = sum(point("one", unit) < 0.5 and point("two", unit) < 0.5 for unit in UNITS)
    assert both == pytest.approx(5_000, abs=260)


@given(unit=st.text(), share_bp=st.integers(0, 9_000), more_bp=st.integers(0, 1_000))
def test_a_growing_last_arm_moves_nobody_out(unit: str, share_bp: int, more_bp: int) -> None:
    before = arm_of("x", unit, [("a", share_bp)])
    assert before is None or arm_of("x", unit, [("a", share_bp + more_bp)]) == before


def test_holdouts_hold_out_their_share() -> None:
    assert sum(is_held_out("campaign-1", unit, 500) for unit in UNITS) == pytest.approx(1_000, abs=130)
    assert not any(is_held_out("campaign-1", unit, 0) for unit in UNITS[:1_000])
    assert all(is_held_out("campaign-1", unit, 10_000) for unit in UNITS[:1_000])


@pytest.mark.parametrize("arms", [[("a", 6_000), ("b", 4_001)], [("a", -1)]])
def test_shares_beyond_everybody_are_refused(arms: list[tuple[str, int]]) -> None:
    with pytest.raises(DecisionError):
        arm_of("x", "u", arms)
