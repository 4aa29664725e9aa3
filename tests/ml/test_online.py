"""What an ad server believes of ads while clicks come in: posteriors from sums, priors of a learned worth, less regret."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.exploration import choose, tapered
from ml.online import Belief, Posteriors, Trials, fit, log_likelihood, posterior_sd

ARMS = 4
LEVEL = -4.2  # logit: 1.5 % of impressions are clicked


def test_a_prior_gives_way_to_clicks() -> None:
    arms = Posteriors(np.array([0.02, 0.02]), belief=Belief(strength=100))
    arms.observe(np.array([1]), np.array([900.0]), np.array([45.0]))
    assert arms.rates().tolist() == pytest.approx([0.02, (45 + 2) / 1000])
    assert arms.sd().tolist() == pytest.approx(
        [1 / np.sqrt(100 * 0.02 * 0.98), 1 / np.sqrt(1000 * 0.047 * 0.953)]
    )


def test_nobody_is_surer_of_an_unseen_ad_than_a_factor_of_e() -> None:
    assert posterior_sd(np.zeros(1), np.array([1e-6]))[0] == 1.0


def test_arms_of_a_group_share_how_much_their_prior_is_off() -> None:
    arms = Posteriors(
        np.array([0.01, 0.02, 0.01]), group=np.array([0, 0, 1]), belief=Belief(100, group_strength=5)
    )
    arms.observe(np.array([0, 1, 2]), np.array([500.0, 500.0, 500.0]), np.array([10.0, 20.0, 10.0]))
    # 30 clicks where 15 were expected; the arm that is alone has its own clicks and no lift.
    assert arms.lifts().tolist() == pytest.approx([35 / 20, 35 / 20, 1.0])
    assert arms.rates()[0] == pytest.approx((10 + 100 * 0.01 * 1.75) / 600)


@given(
    events=st.lists(st.tuples(st.integers(0, ARMS - 1), st.booleans()), max_size=60),
    order=st.randoms(use_true_random=False),
)
def test_the_stream_in_any_order_gives_the_posterior_of_the_batch(
    events: list[tuple[int, bool]], order
) -> None:
    prior, group = np.array([0.01, 0.02, 0.03, 0.04]), np.array([0, 0, 1, 1])
    batch, stream = (Posteriors(prior, group=group) for _ in range(2))
    arm = np.array([one for one, _ in events], np.int64)
    clicked = np.array([hit for _, hit in events], np.float64)
    batch.observe(arm, np.ones(len(arm)), clicked)
    order.shuffle(events)
    for one, hit in events:
        stream.observe(np.array([one]), np.ones(1), np.array([float(hit)]))
    assert stream.rates().tolist() == batch.rates().tolist()
    assert stream.sd().tolist() == batch.sd().tolist()


def trials(*, strength: float, rows: int = 3_000, seed: int = 0) -> Trials:
    """Arms whose true rates scatter around what was predicted as much as such a belief says."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0.01, 0.05, rows)
    seen = rng.choice([0.0, 300.0, 3_000.0], rows)
    worth = strength + seen
    truth = rng.beta(worth * rate, worth * (1 - rate))
    impressions = rng.integers(200, 3_000, rows)
    return Trials(
        rate, seen, impressions.astype(float), rng.binomial(impressions, truth).astype(float), np.arange(rows)
    )


@pytest.mark.parametrize("strength", [20.0, 500.0, 2_000.0])
def test_how_much_a_prior_is_worth_is_found_from_what_came_later(strength: float) -> None:
    found = fit(trials(strength=strength))
    assert found.is_kept
    assert 0.4 <= found.belief.strength / strength <= 2.6


def test_a_belief_that_gains_nothing_later_is_not_taken() -> None:
    found = fit(trials(strength=100.0))
    assert (found.belief, found.is_kept) == (Belief(), False)
    assert fit(trials(strength=20.0, rows=1)).is_kept is False


def test_the_likelihood_is_that_of_clicks_drawn_from_the_belief() -> None:
    # One impression is clicked with the predicted probability, whatever the belief.
    one = Trials(np.array([0.02]), np.zeros(1), np.ones(1), np.ones(1), np.zeros(1))
    assert log_likelihood(one, Belief(10)) == pytest.approx(np.log(0.02))
    assert log_likelihood(one, Belief(1_000)) == pytest.approx(np.log(0.02))


def test_propensities_of_exploring_by_these_posteriors_match_frequencies() -> None:
    arms = Posteriors(np.array([0.01, 0.012, 0.011, 0.02]), group=np.zeros(4, np.int64), belief=Belief(300))
    arms.observe(np.arange(4), np.array([0.0, 400.0, 2_000.0, 100.0]), np.array([0.0, 4.0, 26.0, 1.0]))
    made = [
        choose(
            ids=np.arange(1, 5),
            worth=np.ones(4),
            pctr=arms.rates(),
            sd=tapered(arms.sd(), arms.impressions, 500),
            pays_per_click=np.ones(4, np.bool_),
            seed=seed,
            epsilon=0.04,
        )
        for seed in range(4_000)
    ]
    assert all(one.propensity.sum() == pytest.approx(1, abs=1e-12) for one in made)
    frequency = np.bincount([one.chosen for one in made], minlength=4) / len(made)
    assert frequency == pytest.approx(np.mean([one.propensity for one in made], axis=0), abs=0.02)


# --- headline tests with a known truth ----------------------------------------------------------------------------


def headlines(tests: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(true click rates, a text model's rates), tests × arms: rates differ by 0.3 in the logit within a test, and the
    text tells the better of two in 63 %, as measured on real headline tests."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, 0.3, (tests, ARMS))
    text = 0.4 * (0.4 * effect + np.sqrt(1 - 0.4**2) * rng.normal(0, 0.3, (tests, ARMS)))
    level = rng.normal(LEVEL, 0.5, (tests, 1))
    return 1 / (1 + np.exp(-(level + effect))), 1 / (1 + np.exp(-(LEVEL + text)))


def learned(prior: np.ndarray, truth: np.ndarray) -> Belief:
    """The belief in these rates, from tests that are over."""
    rng = np.random.default_rng(9)
    impressions = rng.integers(1_000, 4_000, truth.shape)
    clicks = rng.binomial(impressions, truth).astype(float)
    lift = (clicks.sum(1, keepdims=True) + 15) / ((impressions * prior).sum(1, keepdims=True) + 15)
    flat = [np.asarray(one, np.float64).ravel() for one in (prior * lift, impressions, clicks)]
    return fit(Trials(flat[0], np.zeros(truth.size), flat[1], flat[2], np.arange(float(truth.size)))).belief


def regret(
    truth: np.ndarray,
    prior: np.ndarray,
    belief: Belief,
    *,
    near_greedy: int,
    marks: tuple[int, ...],
    seed: int,
) -> dict[int, np.ndarray]:
    """Share of the best arm's clicks that each test has lost by so many impressions, ten at a time."""
    rng = np.random.default_rng(seed)
    tests, every = len(truth), 10
    arms = Posteriors(prior.ravel(), group=np.repeat(np.arange(tests), ARMS), belief=belief)
    best, row = truth.max(axis=1), np.arange(tests)
    lost, found = np.zeros(tests), {}
    for shown in range(every, max(marks) + 1, every):
        rate = arms.rates()
        sd = tapered(arms.sd(), arms.impressions, near_greedy)
        drawn = np.log(rate / (1 - rate)) + sd * rng.standard_normal(len(rate))
        arm = drawn.reshape(tests, ARMS).argmax(axis=1)
        p = truth[row, arm]
        lost += every * (best - p)
        arms.observe(row * ARMS + arm, np.full(tests, float(every)), rng.binomial(every, p).astype(float))
        if shown in marks:
            found[shown] = lost / (best * shown)
    return found


def test_a_text_prior_saves_regret_while_impressions_are_few_and_costs_none_later() -> None:
    marks = (500, 1_000, 10_000)
    past_truth, past_text = headlines(600, seed=1)
    truth, text = headlines(400, seed=2)
    with_text = regret(truth, text, learned(past_text, past_truth), near_greedy=500, marks=marks, seed=3)
    nothing = np.full_like(text, text.mean())
    beliefs = (Belief(), learned(np.full_like(past_text, past_text.mean()), past_truth))
    flat = [regret(truth, nothing, one, near_greedy=0, marks=marks, seed=4) for one in beliefs]
    for mark in marks:
        best = min(flat, key=lambda one: float(one[mark].mean()))[mark]
        more = with_text[mark] - best
        high = float(more.mean() + 1.96 * more.std() / len(more) ** 0.5)
        assert high < (-0.02 if mark <= 1_000 else 0.01), (mark, more.mean(), high)
