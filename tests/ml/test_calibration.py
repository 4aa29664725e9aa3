"""A calibration is chosen on rows newer than those it was fitted on, and the simplest one stays unless beaten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import artifacts
from ml.ctr import calibrate
from ml.ctr.calibrate import CANDIDATES, Window, choose
from ml.ctr.calibration import IDENTITY, SLOTS, Calibration
from ml.evaluation import metrics

DAY = 86_400.0


def window(truth: np.ndarray, said: np.ndarray, *, seed: int = 0) -> Window:
    """Clicks of these true log odds over a day, predicted as said, each row a visitor of its own."""
    rng = np.random.default_rng(seed)
    y = (rng.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    return Window(said, y, np.linspace(0, DAY, len(truth)), np.arange(len(truth)))


def spread(rows: int, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(-2.0, 1.2, rows)


def test_right_predictions_are_left_alone_or_moved_by_next_to_nothing() -> None:
    chosen = choose(window(spread(20_000), spread(20_000)))
    assert chosen.calibration.kind in {"none", "level"}
    assert chosen.calibration.log_odds(np.array([-2.0]))[0] == pytest.approx(-2.0, abs=0.05)


def test_a_wrong_level_gets_one_factor_and_no_more() -> None:
    truth = spread(20_000)
    chosen = choose(window(truth, truth + 0.5))
    assert chosen.calibration.kind == "level"
    assert chosen.calibration.parameters[0] == pytest.approx(-0.5, abs=0.05)
    assert chosen.why.startswith("One level lowered the loss of the newest rows; platt, beta saved nothing")
    assert chosen.candidates["level"]["parameters"] == 1
    assert chosen.candidates["none"]["calibration"] > 1.3


def test_boastful_predictions_get_a_slope() -> None:
    truth = spread(20_000)
    chosen = choose(window(truth, 2 * truth + 2))  # twice as sure of itself as it should be
    assert chosen.calibration.kind == "platt"
    assert chosen.calibration.parameters == pytest.approx((0.5, -1.0), abs=0.07)
    assert chosen.candidates["platt"]["saved"][1] > 0


def test_two_different_slopes_need_beta() -> None:
    said = np.random.default_rng(2).normal(0, 2.5, 40_000)
    bent = Calibration("beta", (1.6, 0.5, 0.3))
    chosen = choose(window(bent.log_odds(said), said))
    assert chosen.calibration.kind == "beta"
    assert chosen.calibration.parameters == pytest.approx(bent.parameters, abs=0.12)


def test_what_was_true_yesterday_and_is_not_today_is_not_used() -> None:
    truth = spread(20_000)
    passing = np.where(np.arange(20_000) < 10_000, 0.5, -0.1)  # the newer half is the other way round
    assert choose(window(truth, truth + passing)).calibration == IDENTITY


def test_a_campaign_that_stands_out_in_one_slot_gets_its_own_level() -> None:
    rng = np.random.default_rng(3)
    campaign, slot = rng.integers(1, 5, 40_000), rng.integers(1, 4, 40_000)
    stands_out = (campaign == 2) & (slot == 3)
    said = spread(40_000)
    seen = replace(window(said + np.where(stands_out, 1.0, 0.0), said), campaign=campaign, slot=slot)
    chosen = choose(seen).calibration
    assert chosen.kind == "segments"
    two = chosen.log_odds(np.array([-2.0, -2.0]), campaign=np.array([2, 2]), slot=np.array([3, 1]))
    assert two[0] - two[1] == pytest.approx(0.75, abs=0.15)  # shrunk, and the mean rate stands for all rates
    # Campaign 9 was never seen in any slot: it has the level of all.
    assert chosen.log_odds(np.array([-2.0]), campaign=np.array([9]), slot=3)[0] == pytest.approx(
        -2.0, abs=0.2
    )


def test_older_clicks_of_a_segment_count_half_after_its_half_life() -> None:
    y = np.zeros(2_000)
    y[:200] = 1.0  # ten times the 20 clicks expected of the old rows; the new ones get what is expected
    y[1_000:1_020] = 1.0
    time = np.where(np.arange(2_000) < 1_000, 0.0, 2 * calibrate.HALF_LIFE_SECONDS)
    p = np.full(2_000, 0.02)
    seen = Window(np.log(p / (1 - p)), y, time, np.arange(2_000), np.full(2_000, 7), np.full(2_000, 1))
    found = CANDIDATES["segments"](seen)
    usual = seen.calibrated(CANDIDATES["level"](seen))[0]
    came, expected, k = 200 / 4 + 20, usual * (1_000 / 4 + 1_000), calibrate.SEGMENT_CLICKS
    rate = usual * (came + k) / (expected + k)
    shift = np.log(rate / (1 - rate)) - np.log(usual / (1 - usual))
    assert found.segments == {7 * SLOTS + 1: pytest.approx(shift)}


def test_steps_need_twenty_thousand_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    said = spread(20_000)
    assert "isotonic" not in choose(window(said, said)).candidates
    monkeypatch.setattr(calibrate, "FEWEST_POSITIVES", 500)
    stairs = np.where(said > -1.5, 0.0, -3.0)  # neither a line nor a bow: two rates
    chosen = choose(window(stairs, said))
    assert chosen.calibration.kind == "isotonic"
    assert chosen.calibration.probabilities(np.array([-9.0, -3.0, 0.0, 9.0])) == pytest.approx(
        [0.047, 0.047, 0.5, 0.5], abs=0.07
    )


def test_nobody_clicked_so_nothing_is_moved() -> None:
    silent = replace(window(spread(100), spread(100)), y=np.zeros(100))
    assert choose(silent).calibration == IDENTITY
    assert "none was" in choose(silent).why


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(["level", "platt", "beta"]), seed=st.integers(0, 2**16), wrong=st.floats(-2, 2))
def test_every_map_keeps_the_order_of_ads_and_is_what_it_was_after_saving(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, wrong: float
) -> None:
    truth = spread(400, seed=seed)
    found = CANDIDATES[kind](window(truth, 1.3 * truth + wrong, seed=seed)) or IDENTITY
    x = np.linspace(-12, 6, 50)
    assert (np.diff(found.log_odds(x)) > 0).all()
    folder = tmp_path_factory.mktemp("calibration")
    manifest = artifacts.write(
        folder,
        kind="blender",
        files=[found.save(folder)],
        metrics={},
        schema="s",
        seed=0,
        data_range=("a", "b"),
    )
    assert Calibration.read(folder, manifest) == found


def test_a_folder_of_an_earlier_release_has_a_level(tmp_path: Path) -> None:
    (tmp_path / "level.json").write_text(json.dumps({"factor": 2.0}))
    manifest = artifacts.write(
        tmp_path, kind="blender", files=["level.json"], metrics={}, schema="s", seed=0, data_range=("a", "b")
    )
    assert Calibration.read(tmp_path, manifest) == Calibration("level", (np.log(2.0),))


def test_the_served_level_is_that_of_all_impressions_though_the_trees_saw_few() -> None:
    from ml.ctr.sampling import share_for
    from ml.ctr.train import train_click_model
    from tests.ml.logs import world

    log = world()[0]
    assert share_for(log.clicked, 12_000) == 1.0
    clicks = log.clicked.sum()
    assert share_for(log.clicked, 6_000) == (6_000 - clicks) / (12_000 - clicks)
    assert share_for(log.clicked, 10) == 0.01  # never none
    whole, sampled = train_click_model(log), train_click_model(log, most_rows=6_000)
    assert whole.chosen.calibration.offset == 0.0
    assert sampled.chosen.calibration.offset < -0.5
    ratio = {
        name: model.metrics["full"]["calibration"] for name, model in (("whole", whole), ("sampled", sampled))
    }
    assert ratio["sampled"] == pytest.approx(ratio["whole"], abs=0.03)
    assert sampled.metrics["full"]["ne"] < whole.metrics["full"]["ne"] + 0.01
    assert metrics.calibration_ratio(np.ones(2), np.ones(2)) == 1.0
