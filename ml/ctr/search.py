"""How well a set of tree parameters does on a log, judged on blocks of time by trees that saw only what came before.

    |------ learns -----|stop|judged|                    block 1
    |------- learns ---------|stop|judged|               block 2
    |-------- learns -------------|stop|judged|          block 3
    |------------------ learns --------------|stop| confirmation (the validation part)   test: never looked at

The blocks choose; the confirmation, which no trial saw, says whether the choice beats the defaults beyond noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ml.ctr import features
from ml.ctr.blender import train_blender
from ml.ctr.calibrate import freshest_level
from ml.ctr.replay import replay
from ml.ctr.train import Split, TrainingError
from ml.data import usable_rows
from ml.evaluation import metrics
from ml.schema import Column, Floats, ImpressionLog, Mask, Vectors

Parameters = Mapping[str, Any]
BLOCKS = 3
JUDGED_SHARE = 0.45  # of the training part, its newest
STOP_SHARE = 0.15  # of what a fit may see, its newest: stops the trees and gives the level
ROUNDS = 1_000


@dataclass(frozen=True)
class Range:
    """Where a parameter may lie; `is_log`: equal steps are equal factors."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False


# Few enough for forty trials; trees stay so small and so few (blender.MOST_TREES) that serving them stays cheap.
SPACE: Mapping[str, Range] = {
    "num_leaves": Range(4, 96, is_log=True, is_whole=True),
    "learning_rate": Range(0.02, 0.3, is_log=True),
    "min_data_in_leaf": Range(5, 500, is_log=True, is_whole=True),
    "lambda_l2": Range(1e-3, 100.0, is_log=True),
    "feature_fraction": Range(0.4, 1.0),
    "bagging_fraction": Range(0.5, 1.0),
    "path_smooth": Range(0.01, 30.0, is_log=True),
}
FIXED: Parameters = {"bagging_freq": 1}  # without it LightGBM ignores bagging_fraction


@dataclass(frozen=True)
class Table:
    """Features and labels of the rows that a search may see, in time order; `confirmation` is their newest part."""

    X: Vectors
    y: Floats
    time: Floats
    visitor: Column
    fits: Mask
    confirmation: Mask

    def __len__(self) -> int:
        return len(self.y)


def table(
    log: ImpressionLog, *, split: Split, text_score: Floats | None = None, warm_up: Mask | None = None
) -> Table:
    """What is searched on: rows of the training and validation parts, as training itself builds them."""
    usable, _ = usable_rows(log)
    scores = None if text_score is None else text_score[usable]
    kept = log.take(usable)
    seen = (split.train | split.validation)[usable]
    fits = split.train[usable] & ~(np.zeros(len(kept), np.bool_) if warm_up is None else warm_up[usable])
    X = features.build(replay(kept, text_score=scores))
    rows = np.flatnonzero(seen)
    rows = rows[np.argsort(kept.time[rows], kind="stable")]
    return Table(
        X[rows],
        kept.clicked[rows],
        kept.time[rows],
        _clusters(kept.visitor[rows]),
        fits[rows],
        split.validation[usable][rows],
    )


def defaults(rows: int) -> dict[str, float]:
    """The blender's own parameters on a table of so many rows, as a point of the space."""
    return {
        "num_leaves": 31,
        "learning_rate": 0.1,
        "min_data_in_leaf": min(100, max(5, rows // 200)),
        "lambda_l2": 1.0,
        "feature_fraction": 0.8,
        "bagging_fraction": 1.0,
        "path_smooth": 0.01,
    }


@dataclass(frozen=True)
class Block:
    """Rows that trees may learn from, and the later ones that judge them."""

    fits: Mask
    judged: Mask


def blocks(known: Table) -> list[Block]:
    """Blocks of equal numbers of rows at the end of the training part, each judged by what precedes it."""
    rows = np.flatnonzero(known.fits)
    if len(rows) == 0:
        raise TrainingError("no impressions are left to search on")
    edges = np.quantile(known.time[rows], np.linspace(1 - JUDGED_SHARE, 1, BLOCKS + 1))
    edges[-1] = np.inf
    found = [
        Block(
            known.fits & (known.time < first),
            known.fits & (known.time >= first) & (known.time < end),
        )
        for first, end in pairwise(edges.tolist())
    ]
    for part in found:
        _refuse_hopeless(known.y[part.fits], known.y[part.judged])
    return found


def entropy(known: Table, block: Block, parameters: Parameters, *, seed: int) -> float:
    """Normalised entropy of trees with these parameters on the judged rows of a block."""
    p = _predict(known, block, parameters, seed=seed)
    return metrics.normalised_entropy(p, known.y[block.judged])


@dataclass(frozen=True)
class Confirmation:
    """Parameters beside the defaults on rows that chose neither: normalised entropies and the difference of the log
    loss per impression (mean, low, high; 95 % over visitors), negative where the parameters are better."""

    entropy: float
    entropy_of_defaults: float
    difference: tuple[float, float, float]

    @property
    def is_better(self) -> bool:
        """Beyond noise."""
        return self.difference[2] < 0


def confirm(known: Table, parameters: Parameters, *, seed: int) -> Confirmation:
    """Fit both on the whole training part, and compare them on the validation part."""
    whole = Block(known.fits, known.confirmation)
    y = known.y[whole.judged]
    _refuse_hopeless(known.y[whole.fits], y)
    tuned = _predict(known, whole, parameters, seed=seed)
    usual = _predict(known, whole, {}, seed=seed)
    worse = metrics.row_losses(tuned, y) - metrics.row_losses(usual, y)
    return Confirmation(
        metrics.normalised_entropy(tuned, y),
        metrics.normalised_entropy(usual, y),
        metrics.mean_interval(worse, known.visitor[whole.judged], rounds=ROUNDS),
    )


def _predict(known: Table, block: Block, parameters: Parameters, *, seed: int) -> Floats:
    rows = np.flatnonzero(block.fits)
    blender = train_blender(
        known.X[rows],
        known.y[rows],
        time_order=known.time[rows],
        latest_share=STOP_SHARE,
        refit=False,
        seed=seed,
        parameters=parameters,
    )
    stop = rows[max(1, round(len(rows) * (1 - STOP_SHARE))) :]
    level = freshest_level(blender.predict(known.X[stop]), known.y[stop], known.time[stop], share=1.0)
    return level.apply(blender.predict(known.X[block.judged]))


def _refuse_hopeless(*labels: Floats) -> None:
    for y in labels:
        if len(y) == 0 or not 0 < y.mean() < 1:
            raise TrainingError(f"a block of {len(y)} impressions needs both clicks and non-clicks")


def _clusters(visitor: Column) -> Column:
    """A number per visitor; each row without one is its own cluster."""
    names = np.array([str(name or "") for name in visitor.tolist()])
    _, code = np.unique(names, return_inverse=True)
    alone = names == ""
    found: Column = np.where(alone, code.max(initial=0) + 1 + np.arange(len(names)), code)
    return found
