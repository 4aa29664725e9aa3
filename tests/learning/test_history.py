"""A profile as it stood at a moment: only what came before it, the newer the heavier."""

from __future__ import annotations

import numpy as np
import pytest

from adplatform.learning.history import DAY_SECONDS, NONE, Trace, last_states, profiles, states_before

HALF_LIFE = 14 * DAY_SECONDS
EAST, NORTH, UP = np.eye(3, dtype=np.float32)
VECTORS = np.stack([EAST, NORTH, UP])


def trace(*rows: tuple[int, float, int]) -> Trace:
    visitor, time, text = zip(*rows, strict=True)
    return Trace.of(np.array(visitor), np.array(time, np.float64), np.array(text))


def test_an_act_two_weeks_old_counts_half() -> None:
    done = trace((0, 0.0, 0), (0, HALF_LIFE, 1))
    profile = profiles(done, VECTORS, np.array([1]), half_life_seconds=HALF_LIFE)[0]
    expected = np.array([0.5, 1.0, 0.0]) / np.sqrt(1.25)
    np.testing.assert_allclose(profile, expected, atol=1e-3)


def test_a_profile_knows_only_what_came_strictly_before() -> None:
    done = trace((0, 100.0, 0), (0, 200.0, 1), (1, 150.0, 2))
    asked = states_before(
        done, np.array([0, 0, 0, 0, 1, 1, -1]), np.array([100.0, 100.5, 200.0, 201, 150, 151, 500])
    )
    assert asked.tolist() == [NONE, 0, 0, 1, NONE, 2, NONE]


def test_a_profile_is_as_old_as_the_last_refresh() -> None:
    done = trace((0, 1_000.0, 0), (0, 1_300.0, 1))
    asked = states_before(
        done, np.zeros(3, np.int64), np.array([1_199.0, 1_200.0, 1_850.0]), refresh_seconds=600
    )
    assert asked.tolist() == [NONE, 0, 1]


def test_two_acts_of_one_moment_both_count() -> None:
    done = trace((0, 5.0, 0), (0, 5.0, 1))
    state = states_before(done, np.array([0]), np.array([6.0]))
    profile = profiles(done, VECTORS, state, half_life_seconds=HALF_LIFE)[0]
    np.testing.assert_allclose(profile, [0.7071, 0.7071, 0], atol=1e-3)


def test_no_acts_no_profile() -> None:
    empty = Trace(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    assert states_before(empty, np.array([0, 3]), np.array([1.0, 2.0])).tolist() == [NONE, NONE]
    assert len(last_states(empty)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_replay_over_all_visitors_equals_a_mean_over_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    done = Trace.of(rng.integers(0, 12, 300), rng.uniform(0, 90 * DAY_SECONDS, 300), rng.integers(0, 40, 300))
    who, when = rng.integers(0, 14, 200), rng.uniform(0, 95 * DAY_SECONDS, 200)
    states = states_before(done, who, when)
    got = profiles(done, vectors, states[states != NONE], half_life_seconds=HALF_LIFE)
    asked = [(int(v), float(t)) for v, t, state in zip(who, when, states, strict=True) if state != NONE]
    for profile, (visitor, time) in zip(got, asked, strict=True):
        rows = (done.visitor == visitor) & (done.time < time)
        weight = 2 ** (-(time - done.time[rows]) / HALF_LIFE)
        mean = (weight[:, None] * vectors[done.text[rows]]).sum(axis=0)
        np.testing.assert_allclose(profile, mean / np.linalg.norm(mean), atol=2e-3)
    without = [(v, t) for v, t, state in zip(who, when, states, strict=True) if state == NONE]
    assert all(not ((done.visitor == visitor) & (done.time < time)).any() for visitor, time in without)
