"""The yardstick, by exact numbers and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from ml.evaluation import metrics


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_auc_and_log_loss_equal_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(200) * 0.98 + 0.01, 2)  # ties
    y, weight = (rng.random(200) < p).astype(float), rng.random(200)
    assert metrics.auc(p, y, weight) == pytest.approx(roc_auc_score(y, p, sample_weight=weight))
    assert metrics.log_loss(p, y, weight) == pytest.approx(log_loss(y, p, sample_weight=weight))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_aggregated_rows_give_the_figures_of_single_impressions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    impressions = rng.integers(1, 30, 20)
    clicks = rng.binomial(impressions, 0.3)
    clicks[:2] = (0, impressions[1])
    p = rng.random(20) * 0.8 + 0.1
    single_p = np.repeat(p, impressions)
    single_y = np.concatenate([np.arange(n) < c for n, c in zip(impressions, clicks, strict=True)]).astype(
        float
    )
    y, weight = clicks / impressions, impressions.astype(float)
    for figure in (metrics.log_loss, metrics.normalised_entropy, metrics.auc, metrics.calibration_ratio):
        assert figure(p, y, weight) == pytest.approx(figure(single_p, single_y))


def test_the_base_rate_has_an_entropy_of_one_and_half_an_auc() -> None:
    y = np.array([1.0, 0, 0, 0])
    p = np.full(4, 0.25)
    assert metrics.normalised_entropy(p, y) == pytest.approx(1.0)
    assert metrics.auc(p, y) == 0.5
    assert metrics.calibration_ratio(p, y) == 1.0
    assert metrics.expected_calibration_error(p, y, bins=1) == 0.0


def test_calibration_error_is_the_mean_distance_over_equal_bins() -> None:
    p = np.array([0.1, 0.1, 0.8, 0.8])
    y = np.array([0.0, 0.0, 1.0, 1.0])
    assert metrics.expected_calibration_error(p, y, bins=2) == pytest.approx((0.1 + 0.2) / 2)


def test_precision_and_recall() -> None:
    p, y = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1.0, 0, 1, 0])
    assert metrics.precision_recall(p, y) == (0.5, 0.5)
    assert metrics.precision_recall(p, y, threshold=0.85) == (1.0, 0.5)


def test_pairs_are_counted_within_tests_and_ties_are_worth_half() -> None:
    group = np.array(["a", "a", "b", "b", "c", "c"])
    impressions = np.full(6, 100.0)
    clicks = np.array([10.0, 5, 3, 9, 4, 4])  # the arms of c are equal: no pair
    score = np.array([2.0, 1, 5, 5, 0, 1])
    assert metrics.pairwise_accuracy(score, clicks, impressions, group) == (0.75, 2)


def test_weak_pairs_are_left_out() -> None:
    group, impressions = np.array([1, 1, 2, 2]), np.full(4, 1_000.0)
    clicks = np.array([100.0, 50, 100, 99])
    assert metrics.pairwise_accuracy(np.arange(4.0), clicks, impressions, group, least_z=2.58) == (0.0, 1)


def test_one_label_only_has_no_entropy() -> None:
    assert np.isnan(metrics.normalised_entropy(np.array([0.5]), np.array([0.0])))
    assert np.isnan(metrics.auc(np.array([0.5]), np.array([0.0])))
    assert np.isnan(metrics.calibration_ratio(np.array([0.5]), np.array([0.0])))


def test_intervals_draw_whole_clusters() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(size=50)
    values, cluster = np.repeat(level, 20), np.repeat(np.arange(50), 20)
    mean, low, high = metrics.mean_interval(values, cluster)
    assert mean == pytest.approx(level.mean())
    # The standard error is that of 50 clusters, not of 1,000 rows.
    assert high - low == pytest.approx(2 * 1.96 * level.std() / np.sqrt(50), rel=0.15)
    same = metrics.bootstrap_interval(lambda rows: float(values[rows].mean()), cluster, rounds=300)
    assert same == pytest.approx((low, high), abs=0.07)
