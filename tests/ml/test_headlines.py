"""Headline tests: arms with one headline are one arm; the report beats the prior where words decide."""

import numpy as np
import pytest

from ml.text.encoder import Encoder
from ml.text.headlines import Headlines, merge_arms, report
from tests.ml.test_fit_predict import headlines


def test_arms_with_the_same_headline_are_one_arm() -> None:
    merged = merge_arms(
        Headlines(
            test=np.array(["t", "t", "t", "u"], dtype=object),
            headline=["A", "B", "A", "A"],
            impressions=np.array([100.0, 200, 50, 10]),
            clicks=np.array([5.0, 4, 3, 1]),
            week=np.array([3, 2, 2, 9]),
        )
    )
    assert merged.headline == ["A", "B", "A"]
    assert merged.test.tolist() == ["t", "t", "u"]
    assert merged.impressions.tolist() == [150, 200, 10]
    assert merged.clicks.tolist() == [8, 4, 1]
    assert merged.week.tolist() == [2, 2, 9]


def test_the_report_compares_on_the_test_weeks() -> None:
    table = headlines(260)
    arms = merge_arms(
        Headlines(
            test=table["test"].to_numpy(),
            headline=table["headline"].tolist(),
            impressions=table["shown"].to_numpy(dtype=float),
            clicks=table["clicks"].to_numpy(dtype=float),
            week=table["week"].to_numpy(),
        )
    )
    vectors = Encoder.load(device="cpu").encode(arms.headline)
    figures = report(arms, vectors, first_validation_week=18, first_test_week=22)
    assert list(figures) == ["prior", "tfidf_ridge", "embedding_ridge", "ours_transformer_alone", "ours"]
    assert figures["prior"]["pairwise"] == 0.5
    assert figures["prior"]["pick_lift"] == pytest.approx(1.0)
    for name in ("tfidf_ridge", "embedding_ridge", "ours_transformer_alone", "ours"):
        assert figures[name]["pairwise"] > 0.65, name
        assert figures[name]["pairwise_low"] < figures[name]["pairwise"] < figures[name]["pairwise_high"]
        assert figures[name]["pick_lift"] > 1.1
        assert figures[name]["ne"] < figures["prior"]["ne"]
        assert figures[name]["pairs"] == figures["prior"]["pairs"] <= 40 * 3
