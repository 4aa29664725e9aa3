"""A small classifier of texts from people's labels: logistic regression on the encoder's vectors, cross-validated.

With so few labels only figures from folds that the classifier had not seen mean anything; the strength of its penalty
is chosen inside each fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.evaluation.metrics import auc
from ml.schema import Floats, Mask, Vectors

FEWEST_LABELS = 50
FEWEST_OF_A_CLASS = 10
FOLDS = 5
STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # inverse penalties


@dataclass(frozen=True)
class LabelModel:
    """Log odds are vectors @ weights + bias. `metrics`: auc, log_loss, base_log_loss (the share alone), labels, share."""

    weights: Floats
    bias: float
    metrics: dict[str, float]

    @property
    def is_useful(self) -> bool:
        """Whether unseen folds were predicted better than by the share of bad ones alone."""
        return self.metrics["log_loss"] < self.metrics["base_log_loss"]

    def probability(self, vectors: Vectors) -> Floats:
        p: Floats = 1 / (1 + np.exp(-(vectors.astype(np.float64) @ self.weights + self.bias)))
        return p


def is_enough(bad: Mask) -> bool:
    """Whether there are labels enough, of both classes."""
    return len(bad) >= FEWEST_LABELS and min(bad.sum(), (~bad).sum()) >= FEWEST_OF_A_CLASS


def fit_labels(vectors: Vectors, bad: Mask, *, seed: int = 0) -> LabelModel:
    """The classifier of all labels, and how classifiers of four fifths did on the fifth that they had not seen."""
    from sklearn.model_selection import StratifiedKFold

    X, y = vectors.astype(np.float64), bad.astype(np.float64)
    p, base = np.empty(len(y)), np.empty(len(y))
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(X, y):
        model = _fit(X[train], y[train], _strength(X[train], y[train], seed))
        p[test], base[test] = model.predict_proba(X[test])[:, 1], y[train].mean()
    whole = _fit(X, y, _strength(X, y, seed))
    figures = {
        "auc": float(auc(p, y)),
        "log_loss": _log_loss(p, y),
        "base_log_loss": _log_loss(base, y),
        "labels": float(len(y)),
        "share": float(y.mean()),
    }
    return LabelModel(whole.coef_[0], float(whole.intercept_[0]), figures)


def _strength(X: Floats, y: Floats, seed: int) -> float:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    losses = [
        _log_loss(cross_val_predict(_model(C), X, y, cv=folds, method="predict_proba")[:, 1], y)
        for C in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(losses))]


def _model(C: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=1_000)


def _fit(X: Floats, y: Floats, C: float) -> Any:
    return _model(C).fit(X, y)


def _log_loss(p: Floats, y: Floats) -> float:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
