"""Off-policy estimates against worlds whose truth is known: they cover it, and say when they cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.evaluation.offpolicy import (
    Logged,
    OffPolicyError,
    cross_fitted_rates,
    effective_sample_size,
    evaluate,
)

ACTIONS = 8


class World:
    """Visitors of two kinds, eight ads with planted click rates, a logging and a judged policy."""

    def __init__(self, *, rows: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        truth = np.random.default_rng(99)  # the same world for every seed
        self.rates = truth.beta(2, 4, (2, ACTIONS))
        logging = truth.dirichlet(np.full(ACTIONS, 4.0), 2)
        logging = 0.8 * logging + 0.2 / ACTIONS
        best = np.exp(5 * self.rates)
        self.policy = best / best.sum(axis=1, keepdims=True)
        self.value = float((self.policy * self.rates).sum(axis=1).mean())
        kind = rng.integers(0, 2, rows)
        action = (rng.random((rows, 1)) > logging.cumsum(axis=1)[kind]).sum(axis=1)
        reward = (rng.random(rows) < self.rates[kind, action]).astype(np.float64)
        context = kind * ACTIONS + action
        q, fold = cross_fitted_rates(reward, context, actions=2 * ACTIONS, strength=20)
        table = q.reshape(-1, 2, ACTIONS)[fold, kind]
        self.logged = Logged(
            reward=reward,
            propensity=logging[kind, action],
            target=self.policy[kind, action],
            cluster=np.arange(rows) // 2,
            predicted=table[np.arange(rows), action],
            expected=(self.policy[kind] * table).sum(axis=1),
        )


def test_intervals_cover_the_truth_about_as_often_as_they_promise() -> None:
    worlds = 60
    hits = dict.fromkeys(("ips", "snips", "dr", "switch_dr"), 0)
    for seed in range(worlds):
        world = World(rows=1_500, seed=seed)
        report = evaluate(world.logged, rounds=200)
        assert report.refusal == ""
        for name in hits:
            one = report.estimates[name]
            hits[name] += one.low <= world.value <= one.high
    # 95 % of 60 is 57; fewer than 50 would come once in ten thousand times.
    assert min(hits.values()) >= 50, hits


def rare(seed: int, *, rows: int = 12_000) -> tuple[Logged, float]:
    """Logs that hold what the judged policy does once in eighty rows, at the weight of 77: an effective sample of 150."""
    rng = np.random.default_rng(seed)
    is_wanted = rng.random(rows) < 1 / 80
    rate = np.where(is_wanted, 0.12, 0.06)
    reward = (rng.random(rows) < rate).astype(np.float64)
    q = np.full(rows, 0.07)
    target = np.where(is_wanted, 0.96, 0.04 * 79 / 80)
    return Logged(
        reward=reward,
        propensity=np.where(is_wanted, 1 / 80, 79 / 80),
        target=target,
        predicted=q,
        expected=q,
    ), float(0.96 * 0.12 + (0.04 * 79 / 80) * 0.06)


def test_intervals_of_heavy_weights_hold_the_truth_where_percentiles_end_too_low() -> None:
    hits = dict.fromkeys(("ips", "snips", "dr"), 0)
    for seed in range(40):
        logged, value = rare(seed)
        report = evaluate(logged, rounds=200)
        for name in hits:
            one = report.estimates[name]
            hits[name] += one.low <= value <= one.high
    assert min(hits.values()) >= 37, hits


def test_the_upper_end_is_moved_by_half_a_reward_of_the_heaviest_row() -> None:
    n = 400
    propensity = np.where(np.arange(n) < 100, 0.25, 0.75)
    # Only a light row was rewarded: percentiles know nothing of what the heavy ones might have brought.
    logged = Logged((np.arange(n) == n - 1).astype(float), propensity, np.full(n, 0.5))
    one = evaluate(logged, rounds=400, least_ess=1).estimates["ips"]
    assert one.value == pytest.approx((0.5 / 0.75) / n)
    assert one.high >= one.value + 0.5 * (0.5 / 0.25) / n


def test_doubly_robust_varies_less_than_inverse_propensities() -> None:
    found = [evaluate(World(rows=1_500, seed=seed).logged, rounds=20).estimates for seed in range(60)]
    ips, dr = (np.std([one[name].value for one in found]) for name in ("ips", "dr"))
    assert dr < 0.9 * ips


def test_every_estimator_meets_the_truth_with_many_rows() -> None:
    world = World(rows=200_000, seed=7)
    report = evaluate(world.logged, rounds=50)
    for name in ("ips", "snips", "dr", "switch_dr"):
        assert report.estimates[name].value == pytest.approx(world.value, rel=0.03), name
    assert report.mean_weight == pytest.approx(1, abs=0.02)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_logging_policys_own_value_is_the_mean_reward(seed: int) -> None:
    logged = replace(World(rows=400, seed=seed).logged, expected=None, predicted=None)
    own = evaluate(replace(logged, target=logged.propensity), rounds=20)
    for name in ("ips", "snips", "clipped_ips"):
        assert own.estimates[name].value == pytest.approx(float(logged.reward.mean()))
    assert own.ess == pytest.approx(400)


def test_the_formulas_on_four_rows() -> None:
    logged = Logged(
        reward=np.array([1.0, 0.0, 1.0, 0.0]),
        propensity=np.array([0.5, 0.5, 0.25, 0.5]),
        target=np.array([0.25, 0.5, 0.5, 0.25]),
        predicted=np.array([0.5, 0.1, 0.6, 0.2]),
        expected=np.array([0.4, 0.3, 0.5, 0.2]),
    )
    got = evaluate(logged, least_ess=1, clip=1.5, rounds=10).estimates
    # w = 0.5, 1, 2, 0.5
    assert got["ips"].value == pytest.approx((0.5 + 2) / 4)
    assert got["clipped_ips"].value == pytest.approx((0.5 + 1.5) / 4)
    assert got["snips"].value == pytest.approx((0.5 + 2) / 4)
    assert got["dr"].value == pytest.approx((1.4 + 0.25 - 0.1 + 0.8 - 0.1) / 4)


def test_the_effective_sample() -> None:
    assert effective_sample_size(np.ones(50)) == 50
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == 1
    assert effective_sample_size(np.zeros(3)) == 0


def test_too_small_an_effective_sample_is_refused_with_the_reason() -> None:
    # A policy that nearly always does what the logs nearly never hold.
    n = 5_000
    propensity = np.where(np.arange(n) < 3, 0.0008, 0.9992)
    logged = Logged(np.ones(n), propensity, np.where(np.arange(n) < 3, 1.0, 0.0))
    report = evaluate(logged)
    assert report.estimates == {}
    assert report.refusal.startswith("the effective sample is 3 of 5,000 rows (100 are needed)")


@pytest.mark.parametrize("bad", [0.0, -0.1, np.nan, 1.5])
def test_what_is_no_propensity_is_refused(bad: float) -> None:
    propensity = np.full(500, 0.5)
    propensity[3] = bad
    report = evaluate(Logged(np.ones(500), propensity, np.full(500, 0.5)))
    assert (report.refusal, report.estimates) == ("a logged propensity is not a probability above 0", {})


def test_propensities_that_cannot_be_right_are_refused() -> None:
    # The judged policy did half of what was logged with certainty: weights of mean 1 would need the other half.
    report = evaluate(Logged(np.ones(1_000), np.full(1_000, 0.5), np.full(1_000, 0.25)))
    assert report.refusal.startswith("the weights average 0.50 instead of 1")


def test_nothing_logged_and_columns_of_unequal_length() -> None:
    nothing = np.empty(0)
    assert evaluate(Logged(nothing, nothing, nothing)).refusal == "nothing was logged"
    with pytest.raises(OffPolicyError):
        evaluate(Logged(np.ones(3), np.ones(2), np.ones(3)))


def test_a_rows_own_reward_never_reaches_its_prediction() -> None:
    rng = np.random.default_rng(3)
    reward, action = rng.integers(0, 2, 300).astype(float), rng.integers(0, 4, 300)
    cluster = rng.integers(0, 60, 300)
    before, fold = cross_fitted_rates(reward, action, actions=4, cluster=cluster)
    flipped = np.where(cluster == cluster[0], 1 - reward, reward)
    after, same = cross_fitted_rates(flipped, action, actions=4, cluster=cluster)
    assert (fold == same).all()
    assert after[fold[0]].tolist() == before[fold[0]].tolist()
