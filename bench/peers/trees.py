"""LightGBM: with its defaults, or tuned by a small search; on the raw columns, or on a table of given features.

The search: TRIALS settings drawn by a fixed seed from SPACE, each grown on the older training rows and stopped on the
validation rows (50 rounds of patience, at most 1,000 trees); the best by log loss is grown again on all of them.
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
from common import MOST_VALUES_OF_A_SET, Answer, Table, log_loss, main

TRIALS = 8
MOST_TREES, PATIENCE = 1_000, 50
SPACE = {
    "num_leaves": (7, 15, 31, 63),
    "min_data_in_leaf": (20, 100, 300),
    "feature_fraction": (0.6, 0.8, 1.0),
    "cat_smooth": (10.0, 50.0, 200.0),
    "cat_l2": (10.0, 50.0, 200.0),
    "lambda_l2": (0.0, 1.0, 10.0),
}
FIXED = {"objective": "binary", "learning_rate": 0.05, "num_threads": 1, "verbosity": -1}


def fit(table: Table, variant: str, seed: int) -> Answer:
    """Variants: default, tuned."""
    X, categorical = matrix(table)
    train = np.arange(table.trained)
    if variant == "default":
        settings = {"objective": "binary", "num_threads": 1, "verbosity": -1, "seed": seed}
        model = _grow(settings, 100, X, table, train, categorical)
        return Answer(lambda rows: model.predict(X[rows], num_threads=1), {"trees": 100})
    return tuned(X, categorical, table, seed)


def tuned(X: Any, categorical: list[int], table: Table, seed: int) -> Answer:
    """The search of this file's first lines over any matrix of the table's rows."""
    held = table.validation
    older, newer = np.flatnonzero(~held), np.flatnonzero(held)
    rng = np.random.default_rng(7)
    best: tuple[float, dict[str, Any], int] = (float("inf"), {}, 1)
    for _ in range(TRIALS):
        settings = {**FIXED, "seed": seed, **{name: rng.choice(of).item() for name, of in SPACE.items()}}
        model = _grow(settings, MOST_TREES, X, table, older, categorical, newer)
        p = model.predict(X[newer], num_threads=1, num_iteration=model.best_iteration)
        loss = log_loss(p, table.y[newer], table.weight[newer])
        best = min(best, (loss, settings, model.best_iteration), key=lambda found: found[0])
    loss, settings, trees = best
    final = _grow(settings, trees, X, table, np.arange(table.trained), categorical)
    told = {name: settings[name] for name in SPACE} | {"trees": trees, "validation_log_loss": round(loss, 5)}
    return Answer(lambda rows: final.predict(X[rows], num_threads=1), told)


def matrix(table: Table) -> tuple[Any, list[int]]:
    """(floats, positions of category columns): codes with NaN for unknown; small sets as a column per value."""
    columns, categorical = [], []
    for field in table.fields():
        if field.kind == "number":
            columns.append(field.codes)
        elif field.kind == "category":
            categorical.append(len(columns))
            columns.append(np.where(field.codes > 0, field.codes, np.nan))
        elif field.size <= MOST_VALUES_OF_A_SET:
            columns += [(field.codes == value).any(axis=1) for value in range(1, field.size)]
        else:
            categorical.append(len(columns))
            columns.append(np.unique(field.codes, axis=0, return_inverse=True)[1].ravel())
    return np.column_stack([np.asarray(column, dtype=np.float32) for column in columns]), categorical


def _grow(
    settings: dict[str, Any],
    trees: int,
    X: Any,
    table: Table,
    rows: Any,
    categorical: list[int],
    watched: Any = None,
) -> Any:
    data = lgb.Dataset(
        X[rows],
        table.y[rows],
        weight=table.weight[rows],
        categorical_feature=categorical,
        free_raw_data=False,
    )
    if watched is None:
        return lgb.train(settings, data, num_boost_round=trees)
    watch = data.create_valid(X[watched], table.y[watched], weight=table.weight[watched])
    return lgb.train(
        settings,
        data,
        num_boost_round=trees,
        valid_sets=[watch],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )


if __name__ == "__main__":
    main(fit, ("default", "tuned"))
