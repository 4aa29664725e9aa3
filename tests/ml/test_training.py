"""Blender, level and matcher learn what is there, and judge themselves honestly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.ctr.blender import Blender, train_blender
from ml.ctr.calibrate import Level, fit_level, freshest_level
from ml.ctr.features import NAMES
from ml.ctr.runtime import CompiledBlender
from ml.ctr.train import TrainingError, split_by_time, train_click_model
from ml.data import usable_rows
from ml.text.matcher import Matcher
from ml.text.train import train_in_time_order, train_matcher
from tests.ml.logs import DAY, START, unit, world


@pytest.fixture(scope="module")
def trained() -> tuple:
    log, U, V, u, v = world()
    split = split_by_time(log.time)
    matched = train_in_time_order(
        U, V, log.clicked, u_index=u, v_index=v, time=log.time, train=split.train, batch_size=512
    )
    model = train_click_model(log, text_score=matched.score, warm_up=matched.warm_up)
    return log, matched, model


def test_each_ingredient_pays(trained: tuple) -> None:
    figures = trained[2].metrics
    ne = {name: figures[name]["ne"] for name in figures}
    assert ne["full"] < ne["counters only"] - 0.02 < ne["prior"]
    assert ne["full"] < ne["transformer only"] - 0.01 < ne["prior"]
    assert 0.85 < figures["full"]["calibration"] < 1.15
    assert trained[2].gain[1] > 0  # the interval of what the transformer saves excludes nothing


def test_no_text_score_comes_from_a_matcher_that_saw_the_row(trained: tuple) -> None:
    log, matched, _ = trained
    assert np.isnan(matched.score[matched.warm_up]).all()
    assert not np.isnan(matched.score[~matched.warm_up]).any()
    # Labels of the newest training rows cannot reach the scores of rows before them.
    _, U, V, u, v = world()
    split = split_by_time(log.time)
    newest = split.train & (log.time >= np.quantile(log.time[split.train], 0.9))
    y = np.where(newest, 1 - log.clicked, log.clicked)
    again = train_in_time_order(
        U, V, y, u_index=u, v_index=v, time=log.time, train=split.train, batch_size=512
    )
    earlier = split.train & ~newest & ~matched.warm_up
    np.testing.assert_array_equal(again.score[earlier], matched.score[earlier])
    assert (again.score[split.test] != matched.score[split.test]).all()


def test_the_saved_model_serves_the_trained_one(trained: tuple, tmp_path: Path) -> None:
    model = trained[2]
    manifest = model.save(tmp_path)
    assert set(manifest.files) == {"blender.txt", "trees.npz", "calibration.json", "first_stage.json"}
    X = np.random.default_rng(0).random((50, len(NAMES))).astype(np.float32)
    served = CompiledBlender.load(tmp_path)
    assert served.version == manifest.version
    told = model.chosen.calibration.probabilities(Blender.load(tmp_path).log_odds(X))
    assert served.predict(X) == pytest.approx(told, abs=1e-6)


def test_parameters_of_a_search_reach_the_trees() -> None:
    stumps = train_click_model(world(rows=3_000)[0], parameters={"num_leaves": 2, "min_data_in_leaf": 50})
    assert "[num_leaves: 2]" in stumps.blender.text
    assert "[min_data_in_leaf: 50]" in stumps.blender.text


def test_the_newest_day_is_the_test() -> None:
    time = START + np.arange(10) * DAY / 2
    split = split_by_time(time)
    assert np.flatnonzero(split.test).tolist() == [8, 9]
    assert np.flatnonzero(split.validation).tolist() == [6, 7]
    assert np.flatnonzero(split.train).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_log_without_clicks_is_refused_with_the_reason() -> None:
    log = world(rows=500)[0]
    with pytest.raises(TrainingError, match="needs both clicks and non-clicks"):
        train_click_model(replace(log, click_time=np.full(len(log), np.nan)))


def test_impossible_and_repeated_rows_are_counted_by_reason() -> None:
    log = world(rows=200)[0]
    time, click = log.time.copy(), log.click_time.copy()
    visitor, creative, slot = log.visitor.copy(), log.creative.copy(), log.slot.copy()
    time[0] = np.nan
    click[1] = time[1] - 5
    visitor[2] = visitor[3] = 1
    time[3], creative[3], slot[3], click[3] = time[2], creative[2], slot[2], np.nan
    broken = replace(log, time=time, click_time=click, visitor=visitor, creative=creative, slot=slot)
    usable, reasons = usable_rows(broken)
    assert np.flatnonzero(~usable).tolist() == [0, 1, 3]
    assert reasons == {"no_time": 1, "click_before_impression": 1, "duplicate": 1}
    assert usable_rows(log) == (pytest.approx(np.ones(200)), {})


def test_equal_data_and_seed_give_the_same_trees() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((2_000, len(NAMES))).astype(np.float32)
    y = (rng.random(2_000) < X[:, 0]).astype(float)
    first, second = (train_blender(X, y, time_order=np.arange(2_000), seed=3) for _ in range(2))
    assert first.text == second.text
    assert next(iter(first.importance())) == "text_score"


def test_a_better_text_score_never_lowers_the_prediction() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((3_000, len(NAMES))).astype(np.float32)
    y = (rng.random(3_000) < 0.5 - 0.4 * X[:, 0] * (X[:, 0] > 0.5)).astype(float)  # the data say otherwise
    blender = train_blender(X, y, time_order=np.arange(3_000))
    rising = np.repeat(X[:20], 50, axis=0)
    rising[:, 0] = np.tile(np.linspace(0, 1, 50), 20)
    assert (np.diff(blender.predict(rising).reshape(20, 50), axis=1) >= 0).all()


def test_the_level_meets_the_clicks() -> None:
    p = np.full(100_000, 0.02)
    y = np.zeros(100_000)
    y[:3_000] = 1
    level = fit_level(p, y, prior_clicks=0)
    assert level.factor == pytest.approx(0.03 / 0.97 / (0.02 / 0.98), rel=1e-6)
    assert level.apply(p).mean() == pytest.approx(0.03, rel=1e-6)
    assert fit_level(p[:10], y[-10:]).factor == pytest.approx(1, abs=0.02)  # ten impressions say nothing


def test_a_level_is_kept_only_if_it_wins_later() -> None:
    rng = np.random.default_rng(0)
    p, time = np.full(20_000, 0.1), np.arange(20_000)
    lasting = (rng.random(20_000) < 0.15).astype(float)
    passing = (rng.random(20_000) < np.where(time < 10_000, 0.15, 0.1)).astype(float)
    assert freshest_level(p, lasting, time, share=1.0).factor == pytest.approx(0.15 / 0.85 * 9, rel=0.05)
    assert freshest_level(p, passing, time, share=1.0) == Level(1.0)


def test_a_matcher_learns_a_hidden_map() -> None:
    rng = np.random.default_rng(0)
    U, V = unit(rng.normal(size=(4_000, 8))), unit(rng.normal(size=(4_000, 8)))
    W = rng.normal(size=(8, 8)) * 3
    y = (rng.random(4_000) < 1 / (1 + np.exp(-(U @ W * V).sum(1)))).astype(float)
    matcher, report = train_matcher(U, V, y, batch_size=256, learning_rate=0.02, weight_decay=0.0)
    assert report.metrics["validation"]["auc"] > 0.65
    assert set(report.metrics["train"]) >= {"precision", "recall", "auc", "log_loss"}
    assert np.corrcoef(matcher.W.ravel(), W.ravel())[0, 1] > 0.8


def test_untrained_it_is_scaled_similarity() -> None:
    rng = np.random.default_rng(0)
    U, V, y = unit(rng.normal(size=(60, 8))), unit(rng.normal(size=(60, 8))), rng.integers(0, 2, 60)
    matcher, report = train_matcher(U, V, y.astype(float), epochs=0)
    assert report.best_epoch == 0
    np.testing.assert_array_equal(matcher.W, 4 * np.eye(8, dtype=np.float32))


def test_a_level_of_a_whole_test_does_not_reach_a_conditional_logit() -> None:
    rng = np.random.default_rng(0)
    V = unit(rng.normal(size=(900, 6)))
    test = np.repeat(np.arange(300), 3)
    taste = V @ np.array([2.0, -1, 0, 0, 0, 0])
    # Feature 5 marks popular tests; within a test it says nothing.
    V[:, 5] = np.repeat(rng.normal(size=300), 3)
    impressions = np.full(900, 2_000.0)
    rate = np.clip(0.02 * np.exp(taste + 0.8 * V[:, 5]), 0, 0.9)
    clicks = rng.binomial(2_000, rate)
    one = np.ones((900, 1), dtype=np.float32)
    matcher, report = train_matcher(
        one, V, clicks / impressions, weight=impressions, group=test, batch_size=128, learning_rate=0.03
    )
    assert report.metrics["validation"]["pairwise"] > 0.9
    assert abs(matcher.W[0, 5]) < 0.05 * abs(matcher.W[0, 0])
    assert report.metrics["train"]["calibration"] == pytest.approx(1.0, abs=1e-3)


def test_scoring_all_pairs_equals_scoring_each() -> None:
    rng = np.random.default_rng(0)
    U, V = unit(rng.normal(size=(5, 3))), unit(rng.normal(size=(7, 4)))
    matcher = Matcher(rng.normal(size=(3, 4)).astype(np.float32), 0.5)
    table = matcher.score_all(U, V)
    u, v = np.divmod(np.arange(35), 7)
    assert table.ravel() == pytest.approx(matcher.score(U[u], V[v]), abs=1e-5)
    assert table.ravel() == pytest.approx(matcher.score_pairs(U, V, u, v), abs=1e-5)
    assert (U @ matcher.project(V).T + 0.5).ravel() == pytest.approx(table.ravel(), abs=1e-6)


def test_scalars_are_written_for_tensorboard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    U, y = unit(rng.normal(size=(60, 4))), rng.integers(0, 2, 60).astype(float)
    train_matcher(U, U, y, epochs=2, log_folder=tmp_path)
    assert list(tmp_path.glob("events.out.tfevents.*"))
