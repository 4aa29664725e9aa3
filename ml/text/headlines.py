"""Headline tests: learn from randomised tests which text draws clicks, and say how well, beside simpler models.

Input is a table of arms (test, headline, impressions, clicks, week). Arms of one test with the same headline are
one arm: only the picture differed, which no text can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.ctr.calibrate import fit_level
from ml.evaluation import metrics
from ml.evaluation.baselines import Arms, Prediction, embedding_ridge, tfidf_ridge
from ml.schema import Column, Floats, Ints, Mask, Vectors
from ml.table.model import fit_predict
from ml.table.reading import Meaning, Rows
from ml.text.matcher import Matcher
from ml.text.train import TrainReport, sigmoid, train_matcher

FIRST_VALIDATION_WEEK = 201438
FIRST_TEST_WEEK = 201444
PENALTY = 3.0


@dataclass(frozen=True)
class Headlines:
    """One row per arm; `week` is YYYYWW."""

    test: Column
    headline: Sequence[str]
    impressions: Floats
    clicks: Floats
    week: Ints

    def __len__(self) -> int:
        return len(self.headline)

    def arms(self, rows: Mask, vectors: Vectors) -> Arms:
        """The chosen rows with their vectors, as the baselines take them."""
        return Arms(
            texts=[self.headline[row] for row in np.flatnonzero(rows).tolist()],
            group=self.test[rows],
            clicks=self.clicks[rows],
            impressions=self.impressions[rows],
            vectors=vectors[rows],
        )


@dataclass(frozen=True)
class HeadlineModel:
    """A text-only matcher whose bias stands at the level of the newest weeks."""

    matcher: Matcher
    report: TrainReport

    def log_odds(self, vectors: Vectors) -> Floats:
        """Of a click on each headline."""
        return self.matcher.score(np.ones((len(vectors), 1), dtype=np.float32), vectors)


def merge_arms(table: Headlines) -> Headlines:
    """Add up arms of one test with the same headline; the week is the earliest. Order of first appearance."""
    place: dict[tuple[object, str], int] = {}
    code = np.array(
        [place.setdefault(key, len(place)) for key in zip(table.test.tolist(), table.headline, strict=True)],
        dtype=np.int64,
    )
    week = np.full(len(place), np.iinfo(np.int64).max)
    np.minimum.at(week, code, table.week)
    return Headlines(
        test=np.array([test for test, _ in place], dtype=object),
        headline=[headline for _, headline in place],
        impressions=np.bincount(code, weights=table.impressions).astype(np.float64),
        clicks=np.bincount(code, weights=table.clicks).astype(np.float64),
        week=week,
    )


def train_headlines(
    table: Headlines, vectors: Vectors, *, validation: Mask, usable: Mask, seed: int = 0
) -> HeadlineModel:
    """Conditional logit on the usable arms, stopped on the validation weeks, then fitted to both.

    The level is that of the validation weeks: a site's click rate drifts far more than what people like.
    """
    rows = np.flatnonzero(usable)
    rate = np.divide(table.clicks, table.impressions, out=np.zeros(len(table)), where=table.impressions > 0)
    matcher, report = train_matcher(
        np.ones((1, 1), dtype=np.float32),
        vectors,
        rate[rows],
        u_index=np.zeros(len(rows), dtype=np.int64),
        v_index=rows,
        weight=table.impressions[rows],
        group=table.test[rows],
        validation=validation[rows],
        weight_decay=PENALTY,
        epochs=80,
        refit=True,
        seed=seed,
    )
    model = HeadlineModel(matcher=matcher, report=report)
    newest = np.flatnonzero(validation & usable)
    level = fit_level(sigmoid(model.log_odds(vectors[newest])), rate[newest], table.impressions[newest])
    return HeadlineModel(matcher=matcher.with_bias(matcher.bias + float(np.log(level.factor))), report=report)


def report(
    table: Headlines,
    vectors: Vectors,
    *,
    first_validation_week: int = FIRST_VALIDATION_WEEK,
    first_test_week: int = FIRST_TEST_WEEK,
    encoder: str | None = None,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Figures on the test weeks of the prior, both ridges and our models; `table` has merged arms.

    "ours" is the model of `fit-predict`: conditional logits over middle layers of the transformer, wording and words
    (`encoder` names the transformer that `vectors` came from).

    pairwise and pairwise_strong (|z| > 2.58) with their numbers of pairs and 95 % intervals over tests, auc, ne,
    calibration, and the clicks that the picked headline draws over an average one (`pick_lift`).
    """
    usable = table.impressions > 0
    test = usable & (table.week >= first_test_week)
    validation = usable & (table.week >= first_validation_week) & ~test
    train = usable & ~validation & ~test
    parts = [table.arms(part, vectors) for part in (train, validation, test)]
    model = train_headlines(table, vectors, validation=validation, usable=usable & ~test, seed=seed)
    alone = model.log_odds(vectors[test])
    ours = _blended(table, test, usable, encoder, seed)
    rate = parts[1].clicks.sum() / parts[1].impressions.sum()
    level = np.full(int(test.sum()), rate)
    answers = {
        "prior": Prediction(score=np.zeros(len(level)), probability=level, penalty=0.0),
        "tfidf_ridge": tfidf_ridge(*parts),
        "embedding_ridge": embedding_ridge(*parts),
        "ours_transformer_alone": Prediction(alone, sigmoid(alone), PENALTY),
        "ours": Prediction(np.log(ours / (1 - ours)), ours, PENALTY),
    }
    return {name: _figures(answer, parts[2], seed=seed) for name, answer in answers.items()}


def _blended(table: Headlines, test: Mask, usable: Mask, encoder: str | None, seed: int) -> Floats:
    """Probabilities of the test arms by the table model, which sees the weeks before them."""
    order = np.concatenate([np.flatnonzero(usable & ~test), np.flatnonzero(test)])
    is_test = test[order]
    rows = Rows(
        is_test=is_test,
        rate=np.where(is_test, np.nan, table.clicks[order] / table.impressions[order]),
        weight=np.where(is_test, np.nan, table.impressions[order]),
        time=table.week[order].astype(np.float64),
        user=None,
        item=None,
        group=np.unique(table.test[order], return_inverse=True)[1].astype(np.int64),
        texts=[table.headline[row] for row in order.tolist()],
        text=np.arange(len(order)),
        sets=[],
        numeric=np.empty((len(order), 0)),
        meaning=Meaning(),
    )
    return fit_predict(rows, encoder=encoder, seed=seed).probability


def _figures(answer: Prediction, arms: Arms, *, seed: int) -> dict[str, float]:
    y, weight = arms.clicks / arms.impressions, arms.impressions
    strong, strong_pairs = arms.accuracy(answer.score, least_z=metrics.STRONG_Z)
    every, pairs = arms.accuracy(answer.score)

    def accuracy(rows: Column) -> float:
        return metrics.pairwise_accuracy(
            answer.score[rows], arms.clicks[rows], arms.impressions[rows], arms.group[rows]
        )[0]

    low, high = metrics.bootstrap_interval(accuracy, arms.group, rounds=100, seed=seed)
    return {
        "pairwise": every,
        "pairwise_low": low,
        "pairwise_high": high,
        "pairs": pairs,
        "pairwise_strong": strong,
        "pairs_strong": strong_pairs,
        "auc": metrics.auc(answer.probability, y, weight),
        "ne": metrics.normalised_entropy(answer.probability, y, weight),
        "log_loss": metrics.log_loss(answer.probability, y, weight),
        "calibration": metrics.calibration_ratio(answer.probability, y, weight),
        "pick_lift": _pick_lift(answer.score, arms),
    }


def _pick_lift(score: Floats, arms: Arms) -> float:
    """Mean over tests of the picked arm's click rate over the mean rate of its test; ties share the pick."""
    _, code = np.unique(arms.group, return_inverse=True)
    rate = arms.clicks / arms.impressions
    best = np.full(int(code.max()) + 1, -np.inf)
    np.maximum.at(best, code, score)
    picked = (score == best[code]).astype(np.float64)
    of_picked = np.bincount(code, weights=picked * rate) / np.bincount(code, weights=picked)
    average = np.bincount(code, weights=rate) / np.bincount(code)
    clicked = average > 0
    return float((of_picked[clicked] / average[clicked]).mean())
