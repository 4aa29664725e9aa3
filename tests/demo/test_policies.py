"""Policies are valued from logged choices beside the truth of a market; what cannot be valued says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adplatform.demo.management.commands.policy_values import lines
from adplatform.demo.policies import UNIFORM, Log, beliefs, valued
from adplatform.learning.contenders import FULL, NO_BLENDER, PRIOR
from ml.ctr.features import NAMES
from tests.learning.test_valuation import ADS, market


def log(rows: int, *, seed: int) -> Log:
    """Logged choices whose text scores are the truth, with noise."""
    found, truth, _ = market(rows, seed=seed)
    X = np.zeros((rows * ADS, len(NAMES)), np.float32)
    p = truth.ravel()
    X[:, NAMES.index("text_score")] = np.log(p / (1 - p)) + np.random.default_rng(seed).normal(0, 0.3, len(p))
    X[:, NAMES.index("creative_ctr")], X[:, NAMES.index("slot_lift")] = 0.02, 1.5
    return Log(replace(found, features=X), p)


def test_what_each_policy_believes_comes_from_what_was_known_then() -> None:
    logged = log(20, seed=1)
    believed = beliefs(logged.found)
    assert list(believed) == [UNIFORM, PRIOR, NO_BLENDER, FULL]
    assert believed[UNIFORM] is None
    assert believed[PRIOR] == pytest.approx(np.full(20 * ADS, 0.03))
    assert believed[FULL] is logged.found.pctr


def test_intervals_hold_the_truth_of_the_market_and_the_table_counts_them() -> None:
    found = list(valued("market", log(2_500, seed=3)))
    assert [one.policy for one in found] == [UNIFORM, PRIOR, NO_BLENDER, FULL]
    uniform, _, text, full = found
    assert text.truth > full.truth > uniform.truth
    assert all(all(one.held.values()) for one in (uniform, text))
    assert full.ess == pytest.approx(2_500)
    table = list(lines(found))
    assert len(table) == 1 + 4 + 1
    assert "They hold the truth: IPS" in table[-1]


def test_an_interval_that_misses_is_marked_and_counted() -> None:
    one = next(iter(valued("market", log(800, seed=4))))
    off = replace(one, truth=0.9)
    assert set(off.held.values()) == {False}
    assert "✗" in list(lines([off]))[1]
    assert "IPS 0 of 1" in list(lines([off]))[-1]


def test_too_few_choices_are_refused_in_words() -> None:
    found = list(valued("market", log(30, seed=2)))
    assert all(one.estimates == {} and one.refusal.startswith("the effective sample is") for one in found)
    assert "not valued: the effective sample" in list(lines(found))[1]
    assert list(lines(found))[-1].endswith("none could be valued.")
