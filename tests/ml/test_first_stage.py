"""The first stage: curves that say cheaply what the trees would say about an ad, and few axes for its text score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml.ctr import features, first_stage
from ml.ctr.features import NAMES
from ml.ctr.first_stage import FirstStage, axes_of


def rows(size: int = 4_000) -> np.ndarray:
    rng = np.random.default_rng(3)
    X = np.zeros((size, len(NAMES)), np.float32)
    X[:, NAMES.index("text_score")] = rng.normal(0.1, 0.2, size)
    for name in ("creative_ctr", "creative_recent_ctr", "line_item_ctr"):
        X[:, NAMES.index(name)] = rng.lognormal(-4.5, 0.6, size)
    X[:, NAMES.index("device")] = rng.integers(0, 3, size)
    return X


def column(X: np.ndarray, name: str) -> np.ndarray:
    return X[:, NAMES.index(name)].astype(float)


def trees(X: np.ndarray) -> np.ndarray:
    """Log odds with a step of the text, as trees have them, a rate and something of the request's own."""
    return (
        2.0 * (column(X, "text_score") > 0.2) + np.log(column(X, "creative_ctr")) + 0.5 * column(X, "device")
    )


def test_the_curves_follow_what_the_trees_say() -> None:
    X = rows()
    fitted = first_stage.fit(X, trees(X))
    assert fitted.explained > 0.95
    low, middle, high = fitted.lift(np.array([-0.2, 0.05, 0.45])).tolist()
    assert middle - low == pytest.approx(0.0, abs=0.2)
    assert high - middle == pytest.approx(2.0, abs=0.25)


def test_an_ad_that_is_clicked_more_stands_higher() -> None:
    X = rows()
    fitted = first_stage.fit(X, trees(X))
    raw = {"creative_impressions": np.full(3, 5_000.0), "creative_clicks": np.array([20.0, 50.0, 125.0])}
    known = features.MISSING_REQUEST | {name: 0.0 for name in features.RAW if name not in raw} | raw
    known["creative_exposure"] = known["creative_impressions"]
    low, middle, high = fitted.standing(features.ad_side(known)).tolist()
    assert middle - low == pytest.approx(np.log(2.5), abs=0.3)
    assert high - middle == pytest.approx(np.log(2.5), abs=0.3)


def test_it_is_kept_as_a_file(tmp_path: Path) -> None:
    X = rows(500)
    fitted = first_stage.fit(X, trees(X))
    assert fitted.save(tmp_path) == "first_stage.json"
    assert FirstStage.parse((tmp_path / "first_stage.json").read_bytes()) == fitted


def test_nothing_to_learn_from_gives_no_curve() -> None:
    X = np.zeros((50, len(NAMES)), np.float32)
    fitted = first_stage.fit(X, np.zeros(50))
    assert fitted.lift(np.array([0.3])).tolist() == [0.0]


def test_few_axes_keep_the_scores_of_vectors_that_lie_near_them() -> None:
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(300, 8)) @ rng.normal(size=(8, 96))).astype(np.float32)
    axes, reader = axes_of(vectors, 8), rng.normal(size=96).astype(np.float32)
    np.testing.assert_allclose((vectors @ axes) @ (axes.T @ reader), vectors @ reader, rtol=1e-3, atol=1e-2)
