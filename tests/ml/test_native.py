"""The compiled loops of scoring say what the Python beside them says."""

import numpy as np
import pytest

from ml import dots as scoring
from ml import native
from ml.ctr import features, runtime
from ml.ctr.compile import flatten

from .test_compiled_blender import random_rows, trained


def test_they_are_built() -> None:
    assert native.load() is not None, "deploy/native.py builds them: make install"


def test_trees_are_equal_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    blender = trained(2)
    trees = flatten(blender.dump())
    X = random_rows(np.random.default_rng(3), 2_000)
    compiled = trees.log_odds(X)
    monkeypatch.setattr(runtime, "kernels", None)
    assert compiled.tolist() == trees.log_odds(X).tolist() == blender.log_odds(X).tolist()


@pytest.mark.parametrize("visitor", [True, False])
def test_features_are_equal_to_the_bit(monkeypatch: pytest.MonkeyPatch, visitor: bool) -> None:
    rng = np.random.default_rng(4)
    table = rng.gamma(1.0, 3.0, size=(8, 300))
    table[:2] = rng.beta(2, 80, size=(2, 300))
    rows = rng.permutation(300)[:50]
    raw = features.MISSING_REQUEST | {
        "text_score": np.where(rng.random(50) < 0.2, np.nan, rng.normal(size=50)),
        "global_impressions": 9_000.0,
        "global_clicks": 80.0,
        "global_expected": 79.0,
        "slot_impressions": 500.0,
        "slot_clicks": 7.0,
        "slot_expected": 6.0,
        "hour": 13.0,
        "width": 300.0,
        "height": 250.0,
    }
    if visitor:
        raw |= {"frequency": rng.integers(0, 5, 50).astype(float), "visitor_impressions": 4.0}
    faded = {"creative_faded": 0.4, "line_item_faded": 0.7}
    compiled = features.of_ads(table, rows, 0.009, raw, **faded)
    monkeypatch.setattr(features, "kernels", None)
    np.testing.assert_array_equal(compiled, features.of_ads(table, rows, 0.009, raw, **faded))


@pytest.mark.parametrize("size", [384, 64, 13])
def test_text_scores_are_equal_within_single_precision(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    rng = np.random.default_rng(5)
    vectors, reader = rng.normal(size=(40, size)).astype(np.float32), rng.normal(size=size).astype(np.float32)
    vector_row, has = rng.integers(0, 40, 100), rng.random(100) < 0.8
    given = (vectors, reader, vector_row, has, rng.permutation(100)[:30])
    compiled = scoring.dots(*given, bias=0.5)
    monkeypatch.setattr(scoring, "kernels", None)
    np.testing.assert_allclose(compiled, scoring.dots(*given, bias=0.5), rtol=1e-4, atol=1e-4)
