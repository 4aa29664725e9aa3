"""Chance with its exact probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision import chance
from adplatform.decision.exploration import DRAWS, Choice, choose, logit_sd, sampled_pctr, tapered

PINNED_NORMALS = [1.8197185305505306, 0.0836504545015569, -0.09374939997715548]
PINNED_WORD = 17911839290282890590


def choice(seed: int, *, epsilon: float = 0.1, sd: float = 0.5, size: int = 4) -> Choice:
    ids = np.arange(1, size + 1)
    return choose(
        ids=ids,
        worth=np.linspace(1.0, 1.3, size),
        pctr=np.full(size, 0.01),
        sd=np.full(size, sd),
        pays_per_click=np.ones(size, np.bool_),
        seed=seed,
        epsilon=epsilon,
    )


@given(seed=st.integers(0, 2**63 - 1), epsilon=st.floats(0, 1), size=st.integers(1, 20))
def test_propensities_sum_to_one_and_the_chosen_one_is_positive(seed: int, epsilon: float, size: int) -> None:
    made = choice(seed, epsilon=epsilon, size=size)
    assert made.propensity.sum() == pytest.approx(1, abs=1e-12)
    assert made.propensity[made.chosen] > 0
    assert (made.propensity >= epsilon / size - 1e-15).all()


def test_propensities_are_shares_of_draws_mixed_with_the_uniform() -> None:
    made = choice(5, epsilon=0.2)
    odds, noise = np.full(4, np.log(0.01 / 0.99)), chance.noise(chance.starts(5, np.arange(1, 5)), DRAWS)
    sampled = sampled_pctr(odds, np.full(4, 0.5), noise)
    won = np.bincount((np.linspace(1.0, 1.3, 4)[:, None] * sampled).argmax(0), minlength=4)
    assert made.propensity == pytest.approx(0.8 * won / 64 + 0.2 / 4)


def test_propensities_match_frequencies_over_seeds() -> None:
    seeds = 6_000
    made = [choice(seed) for seed in range(seeds)]
    frequency = np.bincount([one.chosen for one in made], minlength=4) / seeds
    expected = np.mean([one.propensity for one in made], axis=0)
    # Standard error of a frequency is at most 0.5/√6000 = 0.0065.
    assert frequency == pytest.approx(expected, abs=0.02)
    # Inverse propensities are unbiased: the mean of 1{chosen = i}/p_i is 1 for every i.
    weight = np.zeros(4)
    for one in made:
        weight[one.chosen] += 1 / one.propensity[one.chosen] / seeds
    assert weight == pytest.approx(np.ones(4), abs=0.1)
    assert np.mean([one.is_uniform for one in made]) == pytest.approx(0.1, abs=0.012)


def test_certain_predictions_leave_only_the_uniform_part_to_chance() -> None:
    made = choice(11, sd=0.0, epsilon=0.04)
    assert made.propensity.tolist() == [0.01, 0.01, 0.01, pytest.approx(0.97)]


def test_who_pays_per_impression_has_no_uncertain_worth() -> None:
    made = choose(
        ids=np.array([1, 2]),
        worth=np.array([2.0, 3.0]),
        pctr=np.array([0.01, 0.01]),
        sd=np.array([5.0, 5.0]),
        pays_per_click=np.array([False, False]),
        seed=1,
        epsilon=0.0,
    )
    assert made.propensity.tolist() == [0.0, 1.0]


def test_noise_belongs_to_the_candidate_not_to_its_place() -> None:
    ids = np.array([5, 9, 2])
    mixed_up = chance.noise(chance.starts(3, ids[[2, 0, 1]]), 64)
    assert (chance.noise(chance.starts(3, ids), 64)[[2, 0, 1]] == mixed_up).all()


def test_the_bank_is_standard_normal_and_never_changes() -> None:
    bank = chance.normals()
    assert (bank.mean(), bank.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1, abs=1e-4))
    # Pinned: a logged decision must replay with every later version.
    assert bank[:3].tolist() == pytest.approx(PINNED_NORMALS, abs=0)
    assert chance.mix(1, 2) == PINNED_WORD


def test_noise_is_independent_over_draws_and_ids() -> None:
    noise = chance.noise(chance.starts(7, np.arange(20_000)), 8)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert np.abs(np.corrcoef(noise.T) - np.eye(8)).max() < 0.03


@given(seed=st.integers(0, 2**64 - 1), numbers=st.lists(st.integers(0, 2**62), min_size=1, max_size=5))
def test_words_mixed_at_once_are_the_single_words(seed: int, numbers: list[int]) -> None:
    assert chance.mixed(seed, np.array(numbers)).tolist() == [chance.mix(seed, n) for n in numbers]


def test_uncertainty_shrinks_with_impressions() -> None:
    sd = logit_sd(np.array([0.0, 10_000.0]), np.array([0.01, 0.01]))
    assert sd == pytest.approx([0.7, 1 / np.sqrt(0.7**-2 + 99)])


@given(seed=st.integers(0, 2**63 - 1), budget=st.floats(0, 0.3), sd=st.floats(0, 2), size=st.integers(1, 20))
def test_exploring_costs_no_more_of_the_expected_worth_than_its_budget(
    seed: int, budget: float, sd: float, size: int
) -> None:
    worth = np.linspace(1.0, 2.0, size)
    made = choose(
        ids=np.arange(1, size + 1),
        worth=worth,
        pctr=np.full(size, 0.01),
        sd=np.full(size, sd),
        pays_per_click=np.ones(size, np.bool_),
        seed=seed,
        epsilon=0.02,
        budget=budget,
    )
    assert made.propensity.sum() == pytest.approx(1, abs=1e-12)
    assert made.propensity[made.chosen] > 0
    # The uniform part is kept whatever it costs: without it some ads could not be learned about at all.
    uniform = 0.02 * (1 - worth.mean() / worth.max())
    assert 1 - made.propensity @ worth / worth.max() <= max(budget, uniform) + 1e-9


def test_propensities_under_a_budget_match_frequencies_over_seeds() -> None:
    def one(seed: int) -> Choice:
        return choose(
            ids=np.arange(1, 5),
            worth=np.linspace(1.0, 1.6, 4),
            pctr=np.full(4, 0.01),
            sd=np.full(4, 0.8),
            pays_per_click=np.ones(4, np.bool_),
            seed=seed,
            epsilon=0.04,
            budget=0.05,
        )

    made = [one(seed) for seed in range(6_000)]
    frequency = np.bincount([choice.chosen for choice in made], minlength=4) / 6_000
    assert frequency == pytest.approx(np.mean([choice.propensity for choice in made], axis=0), abs=0.02)
    assert frequency[3] > 0.75  # the best at the mean


def test_an_ad_that_was_hardly_shown_is_left_to_its_prediction() -> None:
    sd = tapered(np.full(4, 1.0), np.array([0.0, 250.0, 500.0, 9_000.0]), 500)
    assert sd.tolist() == pytest.approx([0.2, 0.6, 1.0, 1.0])
    assert tapered(np.full(2, 1.0), np.zeros(2), 0).tolist() == [1.0, 1.0]
