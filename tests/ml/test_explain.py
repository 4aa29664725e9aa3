"""Explanations are exact: the contributions add up to the probability that was served, and belong to human groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.ctr import explain
from ml.ctr.blender import Blender, train_blender
from ml.ctr.calibrate import Level
from ml.ctr.features import NAMES

ROWS = 2_000


@pytest.fixture(scope="module")
def blender() -> Blender:
    """Clicks follow the text score and fall with the number of times that the ad was seen."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(ROWS, len(NAMES))).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    log_odds = -1 + 1.5 * _column(X, "text_score") - _column(X, "frequency_log")
    y = (rng.random(ROWS) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    return train_blender(X, y, time_order=np.arange(ROWS), most_trees=40)


def _column(X: np.ndarray, name: str) -> np.ndarray:
    return np.nan_to_num(X[:, NAMES.index(name)])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.01, 1.0, 1_000.0]),
    missing=st.floats(0, 1),
    factor=st.floats(0.2, 5.0),
)
def test_contributions_and_level_add_up_to_the_served_probability(
    blender: Blender, seed: int, scale: float, missing: float, factor: float
) -> None:
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(20, len(NAMES))) * scale).astype(np.float32)
    X[rng.random(X.shape) < missing] = np.nan
    p = blender.predict(X)
    served = Level(factor).apply(p)
    found = explain.contributions(blender, X, calibrated=served)
    assert np.abs(found.logit - explain.logit(served)).max() < 1e-6
    assert np.abs(found.logit - found.level - explain.logit(p)).max() < 1e-6
    assert found.level == pytest.approx(np.log(factor), abs=1e-6)
    grouped = sum(found.by_group().values())
    assert np.abs(grouped - found.values.sum(axis=1)).max() < 1e-9


def test_the_sum_holds_for_more_rows_than_are_explained_at_once(blender: Blender) -> None:
    X = np.random.default_rng(0).normal(size=(explain.ROWS_AT_ONCE + 3, len(NAMES))).astype(np.float32)
    found = explain.contributions(blender, X)
    assert len(found) == len(X)
    assert np.abs(found.logit - explain.logit(blender.predict(X))).max() < 1e-6


def test_what_clicks_followed_matters_most(blender: Blender) -> None:
    X = np.random.default_rng(1).normal(size=(400, len(NAMES))).astype(np.float32)
    told = explain.importance(blender, X)
    assert list(told["groups"])[:2] == [explain.TEXT, explain.FATIGUE]
    assert list(told["features"])[:2] == ["text_score", "frequency_log"]
    assert told["rows"] == 400
    text = NAMES.index("text_score")
    X[:, text] = 2.0
    assert (explain.contributions(blender, X).values[:, text] > 0).all()


def test_every_group_has_features_and_every_feature_a_group() -> None:
    assert {explain.group_of(name) for name in NAMES} == set(explain.GROUPS)
    assert explain.group_of("creative_ctr") == explain.QUALITY
    assert explain.group_of("creative_log_impressions") == explain.EXPLORATION
    assert explain.group_of("visitor_residual") == explain.HISTORY
    assert explain.group_of("slot_ctr") == explain.CONTEXT


def test_no_rows_explain_nothing(blender: Blender) -> None:
    found = explain.contributions(blender, np.empty((0, len(NAMES)), np.float32))
    assert len(found) == 0
    assert set(explain.importance(blender, np.empty((0, len(NAMES)), np.float32))["groups"].values()) == {0.0}
