"""Which of several rival texts is clicked more, whatever lifts them all."""

import numpy as np
import pytest

from ml.table.competition import competition
from ml.table.reading import Meaning, Rows
from ml.table.texts import TOPIC_LEVEL
from ml.text.conditional import Rivals, best_penalty, fit, fit_rates, loss_of, tempered
from ml.text.encoder import Encoder
from ml.text.rivals import DEPTHS
from ml.text.topics import TopicLevels, lifting
from ml.text.wording import measures


def planted(groups: int = 400, *, level_spread: float = 1.5, seed: int = 0) -> tuple[np.ndarray, Rivals]:
    """Texts of five numbers, the first of which draws clicks; levels of groups differ by far more than that."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3 * groups, 5))
    group = np.repeat(np.arange(groups), 3)
    level = rng.normal(size=groups)[group] * level_spread - 6
    shown = np.full(len(group), 40_000.0)
    clicks = rng.poisson(shown * np.exp(level + 0.3 * X[:, 0])).astype(float)
    return X, Rivals(np.arange(len(group)), clicks, shown, group)


def test_what_lifts_a_whole_group_cancels() -> None:
    X, rivals = planted()
    w = fit(X, rivals, penalty=1.0)
    assert w[0] == pytest.approx(0.3, abs=0.03)
    assert np.abs(w[1:]).max() < 0.02
    assert loss_of(X @ w, rivals) < loss_of(np.zeros(len(X)), rivals)


def test_a_group_of_one_teaches_nothing() -> None:
    X, rivals = planted(30)
    alone = Rivals(rivals.text, rivals.clicks, rivals.impressions, np.arange(len(rivals.text)))
    assert not fit(X, alone, penalty=1.0).any()


def test_a_large_group_counts_for_little_more_than_a_small_one() -> None:
    clicks = np.array([20.0, 20.0, 2_000.0, 2_000.0])
    shrunk = tempered(Rivals(np.arange(4), clicks, 100 * clicks, np.array([0, 0, 1, 1])))
    assert shrunk.clicks == pytest.approx(
        [10.0, 10.0, 2_000 / 101, 2_000 / 101]
    )  # one click's worth is 1/0.05
    assert shrunk.clicks / shrunk.impressions == pytest.approx(0.01)


def test_without_groups_the_level_is_learnt_too() -> None:
    X, rivals = planted(level_spread=0.0)
    w, bias = fit_rates(X, rivals, penalty=1.0)
    assert w[0] == pytest.approx(0.3, abs=0.03)
    assert bias == pytest.approx(-6.0, abs=0.05)


def test_what_a_group_is_about_tells_its_level() -> None:
    rng = np.random.default_rng(3)
    topics = rng.normal(size=(6, 20))
    topic = rng.integers(0, 6, 500)
    vectors = topics[topic].repeat(2, axis=0) + 0.3 * rng.normal(size=(1_000, 20))
    group = np.repeat(np.arange(500), 2)
    worth = np.array([0.8, -0.8, 0.4, -0.4, 0.0, 0.0])[topic]
    weeks = 0.5 * np.sin(np.arange(500) / 80)  # moves every group, whatever it is about
    clicks = rng.poisson(10_000 * np.exp(worth + weeks - 5)[group]).astype(float)
    levels = TopicLevels(vectors, np.arange(1_000), group)
    past = Rivals(np.arange(800), clicks[:800], np.full(800, 10_000.0), group[:800])
    found = levels.scores(past, np.arange(400, 500))
    assert np.corrcoef(found, worth[400:])[0, 1] > 0.95
    assert np.std(found - worth[400:]) < 0.2


def test_groups_of_one_tell_what_lifts_a_text_above_its_rivals() -> None:
    rng = np.random.default_rng(5)
    vectors = 4.0 * rng.normal(size=(1_000, 10))
    clicks = rng.poisson(10_000 * np.exp(0.1 * vectors[:, 0] - 5)).astype(float)
    past = Rivals(np.arange(800), clicks[:800], np.full(800, 10_000.0), np.arange(800)[::-1])
    found = lifting(vectors, past)
    assert np.corrcoef(found[800:], vectors[800:, 0])[0, 1] > 0.98
    assert (found.mean(), found.std()) == pytest.approx((0.0, 1.0))


def test_where_all_groups_are_alike_nothing_lifts() -> None:
    vectors = np.ones((6, 3))
    past = Rivals(np.arange(6), np.full(6, 5.0), np.full(6, 1_000.0), np.arange(6) // 2)
    assert not lifting(vectors, past).any()


def test_the_penalty_is_chosen_on_groups_that_were_not_fitted() -> None:
    rng = np.random.default_rng(1)
    _, rivals = planted(60)
    noise = rng.normal(size=(len(rivals.text), 300))  # says nothing: the strongest penalty is right
    assert best_penalty(noise, rivals, [0.1, 10.0, 100_000.0]) == 100_000.0


def test_differences_between_groups_count_by_what_they_were_worth_so_far() -> None:
    X, rivals = planted(level_spread=0.0)
    size = len(rivals.text)
    rows = Rows(
        rate=rivals.clicks / rivals.impressions,
        weight=rivals.impressions,
        is_test=np.zeros(size, bool),
        time=None,
        user=None,
        item=None,
        group=rivals.group.astype(np.int64),
        text=np.arange(size),
        texts=[str(number) for number in range(size)],
        sets=[],
        numeric=np.empty((size, 0)),
        meaning=Meaning(),
    )
    shifted = X.copy()
    shifted[:, 0] += 3 * np.random.default_rng(2).normal(size=len(X) // 3)[rivals.group]  # of no worth
    p, weights = competition(rows, shifted[:, :1], ["score"])
    logit = np.log(p / (1 - p)).reshape(-1, 3)
    assert logit.mean(axis=1).std() < 0.12  # a slope of one would make it 0.9
    assert (logit - logit.mean(axis=1, keepdims=True)).std() == pytest.approx(0.3 * np.sqrt(2 / 3), rel=0.15)
    assert set(weights) == {"score"}
    topic = np.repeat(np.random.default_rng(4).normal(size=len(X) // 3), 3)
    p, weights = competition(rows, np.column_stack([X[:, 0], topic]), ["score", TOPIC_LEVEL])
    assert weights[TOPIC_LEVEL] < 0.05  # a level that is of no worth


def test_wording_is_measured_apart_from_meaning() -> None:
    plain, loud = measures(["The report is out", "WOW! 7 things YOU won't believe…"])
    assert plain.shape == loud.shape == (18,)
    np.testing.assert_allclose(plain, -loud)  # two rows, standardised
    assert np.count_nonzero(loud) >= 8


def test_lower_layers_are_read_without_the_upper_ones() -> None:
    texts = ["Trail shoes that grip", "A quiet annual report", "Seven secrets of the tax office"]
    encoder = Encoder.load()
    before = encoder.encode(texts)
    found = encoder.encode_layers(texts, DEPTHS)
    np.testing.assert_array_equal(encoder.encode(texts), before)  # the encoder is as deep as it was
    assert found.shape == (3, 3 * encoder.dim)
    lower, upper = found[:, : encoder.dim], found[:, encoder.dim : 2 * encoder.dim]
    alone = encoder.encode_layers(texts, DEPTHS[:1])  # cut lower still
    np.testing.assert_allclose(alone, lower, atol=1e-5)
    assert not np.allclose(lower, upper, atol=0.1)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-5)
