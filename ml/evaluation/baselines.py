"""What a text model must beat: ridge regressions on within-test log odds.

Each is fitted on the training tests, its penalty chosen by pairwise accuracy on the validation tests. The target
of an arm is its smoothed log odds less the mean of its test, so that the level of a test does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.evaluation.metrics import pairwise_accuracy
from ml.schema import Column, Floats, Vectors

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Arms:
    """Texts that competed: row r was shown `impressions[r]` times within `group[r]`."""

    texts: Sequence[str]
    group: Column
    clicks: Floats
    impressions: Floats
    vectors: Vectors | None = None

    def target(self) -> Floats:
        """Smoothed log odds, less the mean of the test weighted by impressions."""
        log_odds = np.log((self.clicks + 1) / (self.impressions - self.clicks + 1))
        _, code = np.unique(self.group, return_inverse=True)
        mass = np.bincount(code, weights=self.impressions)
        mean = np.bincount(code, weights=self.impressions * log_odds) / mass
        centred: Floats = log_odds - mean[code]
        return centred

    def accuracy(self, score: Floats, *, least_z: float = 0.0) -> tuple[float, int]:
        """Pairwise accuracy of a score on these arms."""
        return pairwise_accuracy(score, self.clicks, self.impressions, self.group, least_z=least_z)


@dataclass(frozen=True)
class Prediction:
    """A baseline's answer for the test arms; probabilities stand at the level of the validation arms."""

    score: Floats
    probability: Floats
    penalty: float


def tfidf_ridge(train: Arms, validation: Arms, test: Arms) -> Prediction:
    """Words and word pairs, and 2–4 characters within words, weighted by TF-IDF."""
    fitted, represent = _tfidf(train.texts)
    return _ridge(fitted, lambda arms: represent(arms.texts), train, validation, test)


def ridge_scores(train: Arms, texts: Sequence[str], *, penalty: float) -> Floats:
    """The TF-IDF ridge of a known penalty on any texts."""
    from sklearn.linear_model import Ridge

    fitted, represent = _tfidf(train.texts)
    weight = train.impressions / train.impressions.mean()
    model = Ridge(alpha=penalty).fit(fitted, train.target(), sample_weight=weight)
    scores: Floats = np.asarray(model.predict(represent(texts)), dtype=np.float64)
    return scores


def _tfidf(texts: Sequence[str]) -> tuple[Any, Callable[[Sequence[str]], Any]]:
    """(matrix of the texts, function that represents others likewise)."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2)
    fitted = hstack([words.fit_transform(texts), characters.fit_transform(texts)]).tocsr()

    def represent(others: Sequence[str]) -> Any:
        return hstack([words.transform(others), characters.transform(others)]).tocsr()

    return fitted, represent


def embedding_ridge(train: Arms, validation: Arms, test: Arms) -> Prediction:
    """Frozen vectors of a transformer, which the arms carry."""
    return _ridge(_vectors(train), _vectors, train, validation, test)


def _vectors(arms: Arms) -> Vectors:
    if arms.vectors is None:
        raise ValueError("embedding_ridge needs arms with vectors")
    return arms.vectors


def _ridge(
    fitted: Any, represent: Callable[[Arms], Any], train: Arms, validation: Arms, test: Arms
) -> Prediction:
    from sklearn.linear_model import Ridge

    weight = train.impressions / train.impressions.mean()
    models = [Ridge(alpha=penalty).fit(fitted, train.target(), sample_weight=weight) for penalty in PENALTIES]
    held_out = represent(validation)
    accuracies = [validation.accuracy(model.predict(held_out))[0] for model in models]
    best = int(np.argmax(accuracies))
    score = np.asarray(models[best].predict(represent(test)), dtype=np.float64)
    rate = validation.clicks.sum() / validation.impressions.sum()
    log_odds = np.log(rate / (1 - rate)) + score
    return Prediction(score=score, probability=1 / (1 + np.exp(-log_odds)), penalty=PENALTIES[best])
