"""Which of several rival texts is clicked more, whatever lifts them all."""

import numpy as np
import pytest

from ml.table.competition import competition
from ml.table.reading import Meaning, Rows
from ml.text.conditional import Rivals, best_penalty, fit, loss_of
from ml.text.encoder import Encoder
from ml.text.rivals import DEPTHS
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
    assert found.shape == (3, 2 * encoder.dim)
    lower, upper = found[:, : encoder.dim], found[:, encoder.dim :]
    alone = encoder.encode_layers(texts, DEPTHS[:1])  # cut lower still
    np.testing.assert_allclose(alone, lower, atol=1e-5)
    assert not np.allclose(lower, upper, atol=0.1)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-5)
