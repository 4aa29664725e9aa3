"""The blender: LightGBM over the transformer's score, live statistics and context.

Modest trees with monotone constraints, stopped early on the latest part of the data, kept as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.ctr.features import NAMES, RISING
from ml.schema import Column, Floats, Vectors

FILE = "blender.txt"
MOST_TREES = 100
PATIENCE_TREES = 20
LATEST_SHARE = 0.2


class Blender:
    """A trained model; `predict` gives uncalibrated probabilities."""

    def __init__(self, text: str) -> None:
        import lightgbm

        self.text = text
        self._booster = lightgbm.Booster(model_str=text)

    @property
    def names(self) -> list[str]:
        """The feature columns, in order."""
        return list(self._booster.feature_name())

    @property
    def trees(self) -> int:
        """How many trees are summed."""
        return int(self._booster.num_trees())

    def predict(self, X: Vectors) -> Floats:
        """Click probabilities, float64 of shape (n,)."""
        probabilities: Floats = np.asarray(self._booster.predict(X, num_threads=1), dtype=np.float64)
        return probabilities

    def log_odds(self, X: Vectors) -> Floats:
        """The same before the logistic function."""
        raw: Floats = np.asarray(self._booster.predict(X, raw_score=True, num_threads=1), dtype=np.float64)
        return raw

    def contributions(self, X: Vectors) -> Floats:
        """What each feature adds to the log odds (exact TreeSHAP), shape (n, features + 1); the last column is the
        trees' mean. Milliseconds a row."""
        found: Floats = np.asarray(
            self._booster.predict(X, pred_contrib=True, num_threads=1), dtype=np.float64
        )
        return found

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature, largest first."""
        gain = self._booster.feature_importance(importance_type="gain")
        total = float(gain.sum()) or 1.0
        shares = {name: float(value) / total for name, value in zip(self.names, gain, strict=True)}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def dump(self) -> dict[str, Any]:
        """The trees as nested dicts, for the compiler."""
        dumped: dict[str, Any] = self._booster.dump_model()
        return dumped

    def save(self, folder: Path | str) -> str:
        """Write the trees into the folder; returns the file's name for its manifest."""
        (Path(folder) / FILE).write_text(self.text)
        return FILE

    @classmethod
    def load(cls, folder: Path | str) -> Blender:
        """The trees of a verified folder."""
        manifest = artifacts.verify(folder)
        return cls(artifacts.read(folder, manifest, FILE).decode())


def train_blender(
    X: Vectors,
    y: Floats,
    *,
    time_order: Column,
    weight: Floats | None = None,
    seed: int = 0,
    num_threads: int = 1,
    names: Sequence[str] = NAMES,
    rising: frozenset[str] = RISING,
    falling: frozenset[str] = frozenset(),
    latest_share: float = LATEST_SHARE,
    most_trees: int = MOST_TREES,
    refit: bool = True,
    parameters: Mapping[str, Any] | None = None,
) -> Blender:
    """Fit on the earlier rows, choose the number of trees on the latest share, then refit on all rows.

    With a `latest_share` of 0 there is nothing to stop on: exactly `most_trees` are grown.
    `time_order` sorts the rows by time (times themselves will do). `y` may be a rate with impressions as
    `weight`. Same inputs and seed give the same file.
    """
    order = np.argsort(time_order, kind="stable")
    cut = max(1, round(len(order) * (1 - latest_share)))
    chosen = _parameters(X, names, rising, falling, seed=seed, num_threads=num_threads)
    data = _Data(X, y, weight, list(names), chosen | dict(parameters or {}))
    stopped = _stopped(data, order[:cut], order[cut:], most_trees, PATIENCE_TREES)
    return _fit(data, order, stopped.trees) if refit else stopped


@dataclass(frozen=True)
class _Data:
    """All rows are put into bins once; whoever fits on a part shares them."""

    X: Vectors
    y: Floats
    weight: Floats | None
    names: list[str]
    parameters: dict[str, Any]

    @cached_property
    def binned(self) -> Any:
        import lightgbm

        data = lightgbm.Dataset(
            self.X,
            self.y,
            weight=self.weight,
            feature_name=self.names,
            params=self.parameters,
            free_raw_data=False,
        )
        return data.construct()

    def part(self, rows: Column) -> Any:
        """Of these rows, whatever their order."""
        return self.binned if len(rows) == len(self.X) else self.binned.subset(np.sort(rows))


def _has_both_labels(y: Floats) -> bool:
    return len(y) > 0 and bool(y.max() > 0) and bool(y.min() < 1)


def _stopped(data: _Data, earlier: Column, latest: Column, most_trees: int, patience: int) -> Blender:
    """Fitted on the earlier rows until the latest gain no more."""
    import lightgbm

    if len(latest) == 0:
        return _fit(data, earlier, most_trees)
    if not (_has_both_labels(data.y[earlier]) and _has_both_labels(data.y[latest])):
        return _fit(data, earlier, 1)
    booster = lightgbm.train(
        data.parameters,
        data.part(earlier),
        num_boost_round=most_trees,
        valid_sets=[data.part(latest)],
        callbacks=[lightgbm.early_stopping(patience, verbose=False)],
    )
    return Blender(booster.model_to_string(num_iteration=max(1, int(booster.best_iteration))))


def _fit(data: _Data, rows: Column, trees: int) -> Blender:
    import lightgbm

    return Blender(lightgbm.train(data.parameters, data.part(rows), num_boost_round=trees).model_to_string())


def _parameters(
    X: Vectors,
    names: Sequence[str],
    rising: frozenset[str],
    falling: frozenset[str],
    *,
    seed: int,
    num_threads: int,
) -> dict[str, Any]:
    constraints = [1 if name in rising else -1 if name in falling else 0 for name in names]
    return {
        "objective": "cross_entropy",
        "num_leaves": 31,
        "learning_rate": 0.1,  # half as many trees as with 0.05, and no worse: bench.trees
        "min_data_in_leaf": min(100, max(5, len(X) // 200)),
        "lambda_l2": 1.0,
        "feature_fraction": 0.8,
        "monotone_constraints": constraints,
        "seed": seed,
        "num_threads": num_threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
