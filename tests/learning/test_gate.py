"""The gate promotes what is better or equal, and says in words why it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from adplatform.learning.gate import NewestDay, judge

RNG = np.random.default_rng(5)
ROWS = 20_000
TRUTH = np.clip(RNG.beta(1.2, 20, ROWS), 0.001, 0.6)
CLICKED = (RNG.random(ROWS) < TRUTH).astype(np.float64)
VISITOR = RNG.integers(0, 2_000, ROWS)
DEVICE = np.where(RNG.random(ROWS) < 0.5, "mobile", "desktop")
DAY = NewestDay(CLICKED, VISITOR, {"device": DEVICE})
FLAT = np.full(ROWS, CLICKED.mean())


def test_a_better_model_is_promoted() -> None:
    verdict = judge(TRUTH, FLAT, DAY, champion_name="the prior")
    assert verdict.is_promoted
    assert verdict.words.startswith("Promoted: normalised entropy 0.9")
    assert verdict.figures["ne"] < 0.97
    assert verdict.figures["ne_champion"] == pytest.approx(1.0)


def test_an_equal_model_is_promoted() -> None:
    assert judge(TRUTH, TRUTH, DAY, champion_name="matcher-1").is_promoted


def test_a_model_worse_beyond_noise_is_refused() -> None:
    verdict = judge(FLAT, TRUTH, DAY, champion_name="blender-1")
    assert not verdict.is_promoted
    assert verdict.words.startswith("Refused: its log loss is worse beyond noise")


def test_a_model_that_promises_too_much_is_refused() -> None:
    verdict = judge(TRUTH * 1.4, FLAT, DAY, champion_name="the prior")
    assert not verdict.is_promoted
    assert "calibration lies outside 0.9 to 1.1" in verdict.words


def test_harm_to_one_device_is_refused() -> None:
    mobile = DEVICE == "mobile"
    # Level kept: what it promises too much on one half of the mobile impressions it takes from the other.
    half = RNG.random(ROWS) < 0.5
    bent = np.where(mobile, np.where(half, TRUTH * 1.7, TRUTH * 0.3), TRUTH)
    champion = np.where(mobile, TRUTH, FLAT)
    verdict = judge(bent, champion, DAY, champion_name="blender-1")
    assert not verdict.is_promoted
    assert "device mobile" in verdict.words
    assert "device desktop" not in verdict.words


def test_a_day_without_clicks_proves_nothing() -> None:
    quiet = NewestDay(np.zeros(100), np.arange(100))
    verdict = judge(np.full(100, 0.01), np.full(100, 0.02), quiet, champion_name="the prior")
    assert not verdict.is_promoted
    assert verdict.words == "Refused: 0 clicks in the newest day say too little (30 are needed)."
