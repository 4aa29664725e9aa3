"""Trees of anyone's table: where they start, which rows they see, what rivals take from each other."""

import numpy as np
import pytest

from ml.table import trees
from ml.table.slates import Rivalry, relative_to_group, rivals
from ml.table.start import Start
from ml.table.trees import grow


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def rows(n: int, seed: int = 0, level: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features: a rate, a count with missing values, noise; labels; true log odds that are a sum of them)."""
    rng = np.random.default_rng(seed)
    rate, count, noise = sigmoid(rng.normal(size=n)), rng.normal(size=n), rng.normal(size=n)
    count[rng.random(n) < 0.2] = np.nan
    z = level + np.log(rate / (1 - rate)) + np.where(np.isnan(count), -1.0, 0.7 * count)
    return np.array([rate, count, noise], np.float32), (rng.random(n) < sigmoid(z)).astype(float), z


NAMES = ["item_rate", "seen", "noise"]
RISING = frozenset({"item_rate"})


def test_a_sum_is_found_by_the_logistic_regression_and_trees_start_from_it() -> None:
    X, y, z = rows(20_000)
    start = Start.fit(X, NAMES, RISING, rate=y, weight=np.ones(len(y)))
    np.testing.assert_allclose(start.log_odds(X), z, atol=0.2)
    held = np.arange(len(y)) >= 17_000
    _, forest = grow(X, NAMES, RISING, rate=y, weight=np.ones(len(y)), held=held, seed=0, may_start=True)
    assert forest.start is not None
    fresh, _, truth = rows(5_000, seed=1)
    assert np.abs(forest.log_odds(fresh) - truth).mean() < 0.15
    shares = forest.importance(X)
    assert list(shares)[:2] == [0, 1]
    assert sum(shares.values()) == pytest.approx(1.0)


def test_where_a_sum_says_little_trees_start_from_nothing() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2, 20_000)).astype(np.float32)
    y = (rng.random(20_000) < np.where(np.abs(X[0]) > 0.7, 0.8, 0.2)).astype(float)
    held = np.arange(20_000) >= 17_000
    weight = np.ones(20_000)
    _, forest = grow(X, ["a", "b"], frozenset(), rate=y, weight=weight, held=held, seed=0, may_start=True)
    assert forest.start is None


def test_a_higher_rate_never_lowers_a_prediction_even_where_the_data_say_so() -> None:
    X, y, _ = rows(8_000)
    y = 1 - y
    held = np.arange(len(y)) >= 7_000
    _, forest = grow(X, NAMES, RISING, rate=y, weight=np.ones(len(y)), held=held, seed=0, may_start=True)
    some = np.repeat(X[:, :50], 40, axis=1)
    some[0] = np.tile(np.linspace(0.01, 0.99, 40), 50)
    assert (np.diff(forest.log_odds(some).reshape(50, 40), axis=1) >= -1e-9).all()


def test_few_of_many_non_clicks_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, z = rows(60_000, level=-4.0)
    monkeypatch.setattr(trees, "LEAST_NON_CLICKS", 5_000)
    held = np.arange(len(y)) >= 51_000
    _, forest = grow(X, NAMES, RISING, rate=y, weight=np.ones(len(y)), held=held, seed=0, may_start=False)
    p = sigmoid(forest.log_odds(X))
    assert p.mean() == pytest.approx(y.mean(), rel=0.03)
    assert np.corrcoef(forest.log_odds(X), z)[0, 1] > 0.9


def test_one_click_in_each_group_is_learned_as_the_odds_against_all_rivals() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2_000, 5))
    chosen = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    y = (np.arange(5) == chosen[:, None]).astype(float).ravel()
    group, weight = np.repeat(np.arange(2_000), 5), np.ones(10_000)
    alone = z.ravel() - 1.6
    learned = Rivalry.learn(alone, y, weight, group)
    assert learned is not None
    truth = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(sigmoid(learned.apply(alone, group)), truth.ravel(), atol=0.05)


def test_rows_that_do_not_disturb_one_another_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=10_000) - 1
    y = (rng.random(10_000) < sigmoid(z)).astype(float)
    assert Rivalry.learn(z, y, np.ones(10_000), np.repeat(np.arange(2_000), 5)) is None


def test_rivals_are_the_others_of_the_group() -> None:
    z, group = np.array([1.0, 2.0, 3.0, 800.0]), np.array([0, 0, 0, 1])
    assert rivals(z, group)[0] == pytest.approx(np.log(np.exp(2) + np.exp(3)))
    assert np.isfinite(rivals(z, group)).all()


def test_what_is_the_same_for_a_whole_group_is_not_compared_within_it() -> None:
    group = np.array([0, 0, 1, 1, 2])
    assert relative_to_group(np.array([0.1, 0.1, np.nan, np.nan, 7.0]), group) is None
    found = relative_to_group(np.array([1.0, 3.0, np.nan, 2.0, 7.0]), group)
    np.testing.assert_array_equal(found, [-1.0, 1.0, np.nan, 0.0, np.nan])
