"""Our click model on anyone's table: history, text and given numbers, blended by LightGBM, at the newest level.

Where nothing but competing texts is known, a conditional logit over the text scores takes the trees' place.
"""

from __future__ import annotations

import importlib
import time as clock
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml.ctr.calibrate import freshest_level
from ml.schema import Floats, Ints, Vectors
from ml.table import level
from ml.table.competition import competition, only_competing_texts
from ml.table.reading import Rows, TableError
from ml.table.slates import Rivalry, relative_to_group
from ml.table.texts import rival_scores, text_scores
from ml.table.trees import grow
from ml.table.walk import folds_of, history_features
from ml.text.encoder import Encoder
from ml.text.rivals import DEPTHS
from ml.text.train import sigmoid

LATEST_SHARE = 0.15
ROWS_OF_IMPORTANCE = 2_000


@dataclass(frozen=True)
class Fitted:
    """Probabilities of the test rows in order, and what they cost."""

    probability: Floats
    encode_seconds: float
    train_seconds: float
    predict_seconds: float
    features: dict[str, float]


@dataclass(frozen=True)
class _Matrix:
    X: Floats
    names: list[str]
    rising: frozenset[str]
    history_seconds: float


@dataclass(frozen=True)
class _Model:
    """`held_out`: predictions for the held rows by a model that did not see them; `predict`: of the final one."""

    held_out: Floats
    predict: Callable[[Ints], Floats]
    importance: dict[str, float]


def fit_predict(
    rows: Rows, *, encoder: str | None = None, vectors: Vectors | None = None, seed: int = 0
) -> Fitted:
    """Fit on the training rows, predict the test rows; `vectors` of the distinct texts are computed unless given."""
    _refuse_hopeless(rows)
    importlib.import_module("lightgbm")  # seconds, which are no part of training
    started = clock.process_time()
    if vectors is None and rows.text is not None:
        vectors = _vectors(rows, Encoder.load(encoder))
    encoded = clock.process_time()
    matrix = _features(rows, vectors, seed)
    held = _latest(rows, seed)
    if only_competing_texts(rows):
        model = _competition(rows, matrix)
        # A handful of weights is not fitted to rows as trees are: all that have a score tell how levels move.
        held = np.flatnonzero(~rows.is_test & (rows.weight > 0) & ~np.isnan(matrix.X).any(axis=1))
    else:
        model = _trees(rows, matrix, held, seed)
    trained = clock.process_time()
    test = np.flatnonzero(rows.is_test)
    final = _at_newest_level(model.held_out, model.predict(test), rows, held)
    predicted = clock.process_time()
    history = matrix.history_seconds * len(test) / len(rows)
    return Fitted(
        probability=np.clip(final, 1e-9, 1 - 1e-9),
        encode_seconds=encoded - started,
        train_seconds=trained - encoded - history,
        predict_seconds=predicted - trained + history,
        features=model.importance,
    )


def _vectors(rows: Rows, encoder: Encoder) -> Vectors:
    """Of each distinct text: what it is about, or, where rivals differ by wording only, what lies below that."""
    if only_competing_texts(rows):
        return encoder.encode_layers(rows.texts, DEPTHS)
    return encoder.encode(rows.texts)


def _features(rows: Rows, vectors: Vectors | None, seed: int) -> _Matrix:
    columns, names, rising = [rows.numeric], list(rows.meaning.numeric), frozenset[str]()
    started = clock.process_time()
    if rows.user is not None or rows.item is not None or rows.sets:
        history, known, rising = history_features(rows, vectors=vectors, seed=seed)
        columns.append(history)
        names += known
    history_seconds = clock.process_time() - started
    if vectors is not None:
        scored = rival_scores if only_competing_texts(rows) else text_scores
        scores, known = scored(rows, vectors, seed=seed)
        columns.append(scores)
        names += known
        rising |= frozenset(known)
    return _with_rivals(_Matrix(_side_by_side(columns), names, rising, history_seconds), rows)


def _side_by_side(parts: list[Floats]) -> Floats:
    """Columns of all parts, each column in one piece: what follows goes through columns."""
    return np.concatenate([part.T for part in parts]).T


def _with_rivals(matrix: _Matrix, rows: Rows) -> _Matrix:
    """Where rows compete in groups: each feature less its mean over the group, unless it is the same for all of it."""
    if rows.group is None or only_competing_texts(rows):
        return matrix
    columns, names = [column.astype(np.float32) for column in matrix.X.T], list(matrix.names)
    for name, column in zip(matrix.names, matrix.X.T, strict=True):
        relative = relative_to_group(column, rows.group)
        if relative is not None:
            columns.append(relative.astype(np.float32))
            names.append(f"{name}_in_group")
    rising = matrix.rising | {name for name in names if name.removesuffix("_in_group") in matrix.rising}
    return _Matrix(np.array(columns).T, names, frozenset(rising), matrix.history_seconds)


def _competition(rows: Rows, matrix: _Matrix) -> _Model:
    """Conditional logit over the text scores, at the mean level of the training rows."""
    p, weights = competition(rows, matrix.X, matrix.names)
    return _Model(p, lambda wanted: p[wanted], weights)


def _trees(rows: Rows, matrix: _Matrix, held: Ints, seed: int) -> _Model:
    """Trees over everything, then, where rows compete, what each takes from the others."""
    train = np.flatnonzero(~rows.is_test & (rows.weight > 0))
    features = _rows_of(matrix, train)
    first, final = grow(
        features,
        matrix.names,
        matrix.rising,
        rate=rows.rate[train],
        weight=rows.weight[train],
        held=np.isin(train, held),
        seed=seed,
        may_start=rows.time is not None,  # out of fold, test rows count one fold more than any training row
    )
    told = first.log_odds(_rows_of(matrix, held))
    rivalry = None
    if rows.group is not None:
        rivalry = Rivalry.learn(told, rows.rate[held], rows.weight[held], rows.group[held])

    def probability(log_odds: Floats, wanted: Ints) -> Floats:
        if rivalry is not None and rows.group is not None:
            log_odds = rivalry.apply(log_odds, rows.group[wanted])
        return sigmoid(log_odds)

    held_out = np.full(len(rows), np.nan)
    held_out[held] = probability(told, held)
    importance = final.importance(features[:, :: max(1, len(train) // ROWS_OF_IMPORTANCE)])
    return _Model(
        held_out,
        lambda wanted: probability(final.log_odds(_rows_of(matrix, wanted)), wanted),
        {matrix.names[place]: share for place, share in importance.items()},
    )


def _rows_of(matrix: _Matrix, wanted: Ints) -> Vectors:
    return matrix.X.T[:, wanted].astype(np.float32)


def _latest(rows: Rows, seed: int) -> Ints:
    """The training rows that choose the number of trees and the level: the latest, or those of one fold."""
    train = np.flatnonzero(~rows.is_test & (rows.weight > 0))
    if rows.time is None:
        one = train[folds_of(rows, seed)[train] == 0]
        return one if len(one) else train[:1]
    train = train[np.argsort(rows.time[train], kind="stable")]
    return train[round(len(train) * (1 - LATEST_SHARE)) :]


def _at_newest_level(held_out: Floats, predicted: Floats, rows: Rows, held: Ints) -> Floats:
    """Test predictions at the newest level known: of the latest training rows, or followed row by row."""
    if rows.time is None:
        return predicted
    if not rows.meaning.progressive:
        newest = freshest_level(
            held_out[held], rows.rate[held], rows.time[held], weight=rows.weight[held], share=1.0
        )
        return newest.apply(predicted)
    memory = level.best_memory(held_out, rows, held)
    if memory is None:
        return predicted
    mixed = held_out.copy()
    mixed[rows.is_test] = predicted
    test = np.flatnonzero(rows.is_test)
    return level.follow(mixed, rows, np.concatenate([held, test]), test, memory=memory)[test]


def _refuse_hopeless(rows: Rows) -> None:
    train = ~rows.is_test & (rows.weight > 0)
    rate = rows.rate[train]
    if not train.any() or rate.max() <= 0 or rate.min() >= 1:
        raise TableError("the training rows need both clicks and non-clicks")
