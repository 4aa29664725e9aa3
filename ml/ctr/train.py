"""From an impression log to a click model that may be served: split by time, blender, calibration, honest comparison.

The newest day is the test, the day before it the validation (it stops the trees and calibrates), the rest
trains. What is returned was never fitted on the test day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml import artifacts
from ml.ctr import calibrate, features, sampling
from ml.ctr import compile as compiler
from ml.ctr.blender import Blender, train_blender
from ml.ctr.calibrate import Choice, Window
from ml.ctr.first_stage import FirstStage
from ml.ctr.first_stage import fit as fit_first_stage
from ml.ctr.replay import replay
from ml.ctr.runtime import KIND
from ml.data import usable_rows
from ml.evaluation import metrics
from ml.evaluation.metrics import row_losses as _losses
from ml.schema import Floats, ImpressionLog, Mask, Vectors

DAY_SECONDS = 86_400
FEWEST_DAYS = 4  # with fewer, parts are shares of the rows
SHARES = (0.7, 0.85)
MOST_ROWS = 2_000_000  # that trees are grown on; more cost minutes and change nothing measurable
FULL, COUNTERS, TRANSFORMER, PRIOR = "full", "counters only", "transformer only", "prior"


class Saved(Protocol):
    """Something that writes one file into a model folder and says how it is named."""

    def save(self, folder: Path | str) -> str: ...


class TrainingError(Exception):
    """The log cannot train a model; the message says why."""


@dataclass(frozen=True)
class Split:
    """Masks over the rows of a log."""

    train: Mask
    validation: Mask
    test: Mask


@dataclass(frozen=True)
class ClickModel:
    """A blender with its calibration, and how it did on the test day beside simpler models.

    `metrics` maps "full", "counters only" (no transformer), "transformer only" (no blender) and "prior" to
    their summaries; `gain` is (mean, low, high) of log loss per impression that the full model saves on
    counters only, with a 95 % interval over visitors.
    """

    blender: Blender
    chosen: Choice
    first_stage: FirstStage
    metrics: dict[str, dict[str, float]]
    gain: tuple[float, float, float]
    importance: dict[str, float]
    rows: dict[str, int]
    refused: dict[str, int]
    data_range: tuple[str, str]
    seed: int

    def predict(self, X: Vectors, log: ImpressionLog) -> Floats:
        """Calibrated click probabilities of these features of the log's rows."""
        return calibrated(self.blender, self.chosen, X, log)

    def save(self, folder: Path | str, *, others: Sequence[Saved] = ()) -> artifacts.Manifest:
        """Trees as text and compiled, calibration, what else belongs to it, manifest."""
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        trees = [self.blender.save(root), compiler.compile_blender(self.blender, root)]
        own = (self.chosen.calibration, self.first_stage)
        files = [*trees, *(one.save(root) for one in own), *(other.save(root) for other in others)]
        figures = {
            **self.metrics,
            "gain": list(self.gain),
            "importance": self.importance,
            "rows": self.rows,
            "refused": self.refused,
            "first_stage_explained": self.first_stage.explained,
        }
        return artifacts.write(
            root,
            kind=KIND,
            files=files,
            metrics=figures,
            schema=features.SCHEMA,
            seed=self.seed,
            data_range=self.data_range,
        )


def split_by_time(time: Floats) -> Split:
    """Newest day test, the day before validation (UTC); shares of 70, 15, 15 % where there are few days."""
    day = np.floor(time / DAY_SECONDS)
    days = np.unique(day)
    if len(days) >= FEWEST_DAYS:
        return Split(train=day < days[-2], validation=day == days[-2], test=day == days[-1])
    first, second = np.quantile(time, SHARES)
    return Split(train=time <= first, validation=(time > first) & (time <= second), test=time > second)


def train_click_model(
    log: ImpressionLog,
    *,
    text_score: Floats | None = None,
    warm_up: Mask | None = None,
    split: Split | None = None,
    seed: int = 0,
    num_threads: int = 1,
    parameters: Mapping[str, Any] | None = None,
    most_rows: int = MOST_ROWS,
) -> ClickModel:
    """Train and compare on one log; rows that contradict themselves or repeat are left out and counted.

    `text_score` are log odds of a matcher that did not see the row (ml.text.train.train_in_time_order); rows of
    `warm_up` feed the counters but train no trees. `parameters` are LightGBM's, instead of the blender's own. Beyond
    `most_rows` the trees see all clicks and a share of the rest, and the odds are put right (ml.ctr.sampling).
    """
    fit = partial(_fit, seed=seed, num_threads=num_threads, parameters=parameters, most_rows=most_rows)
    usable, refused = usable_rows(log)
    log = log.take(usable)
    if split is None:
        split = split_by_time(log.time)
    else:
        split = Split(split.train[usable], split.validation[usable], split.test[usable])
    text_score = None if text_score is None else text_score[usable]
    warm_up = np.zeros(len(log), dtype=bool) if warm_up is None else warm_up[usable]
    _refuse_hopeless(log, split)
    y, test = log.clicked, split.test
    X = features.build(replay(log, text_score=text_score))
    fitted_on = (split.train | split.validation) & ~warm_up
    blender, chosen = fit(X, y, log, split, fitted_on)
    first_stage = fit_first_stage(X[fitted_on], blender.log_odds(X[fitted_on]))
    predictions = {
        FULL: calibrated(blender, chosen, X[test], log.take(test)),
        PRIOR: np.full(int(test.sum()), y[~test].mean()),
    }
    X[:, features.NAMES.index("text_score")] = np.nan
    without, its_choice = fit(X, y, log, split, fitted_on)
    predictions[COUNTERS] = calibrated(without, its_choice, X[test], log.take(test))
    if text_score is not None:
        predictions[TRANSFORMER] = _transformer_alone(text_score, y, split)
    saved = _losses(predictions[COUNTERS], y[test]) - _losses(predictions[FULL], y[test])
    return ClickModel(
        blender=blender,
        chosen=chosen,
        first_stage=first_stage,
        metrics={name: metrics.summary(p, y[test]) for name, p in predictions.items()},
        gain=metrics.mean_interval(saved, _visitor_clusters(log.take(test))),
        importance=blender.importance(),
        rows={part: int(getattr(split, part).sum()) for part in ("train", "validation", "test")},
        refused=refused,
        data_range=(_iso(log.time.min()), _iso(log.time.max())),
        seed=seed,
    )


def _fit(
    X: Vectors,
    y: Floats,
    log: ImpressionLog,
    split: Split,
    rows: Mask,
    *,
    seed: int,
    num_threads: int,
    parameters: Mapping[str, Any] | None = None,
    most_rows: int = MOST_ROWS,
) -> tuple[Blender, Choice]:
    """Trees stopped on the validation part, and the calibration chosen on the whole of that part."""
    share = sampling.share_for(y[rows], most_rows)
    kept = rows & sampling.sampled_rows(y, share=share, seed=seed)
    blender = train_blender(
        X[kept],
        y[kept],
        time_order=log.time[kept],
        latest_share=float(split.validation[kept].mean()),
        refit=False,
        seed=seed,
        num_threads=num_threads,
        parameters=parameters,
    )
    fresh = split.validation
    chosen = calibrate.choose(_window(log.take(fresh), blender.log_odds(X[fresh]) + np.log(share)))
    return blender, replace(chosen, calibration=replace(chosen.calibration, offset=float(np.log(share))))


def _window(log: ImpressionLog, log_odds: Floats) -> Window:
    return Window(log_odds, log.clicked, log.time, _visitor_clusters(log), log.campaign, log.slot)


def calibrated(blender: Blender, chosen: Choice, X: Vectors, log: ImpressionLog) -> Floats:
    """What the two would serve for these rows."""
    return chosen.calibration.probabilities(blender.log_odds(X), campaign=log.campaign, slot=log.slot)


def _transformer_alone(text_score: Floats, y: Floats, split: Split) -> Floats:
    """The matcher's log odds, scaled and shifted on the validation part; the prior where there is no score."""
    from sklearn.linear_model import LogisticRegression

    known = split.validation & ~np.isnan(text_score)
    p = np.full(len(y), y[split.train | split.validation].mean())
    if 0 < y[known].sum() < known.sum():
        scored = ~np.isnan(text_score)
        scale = LogisticRegression(C=1e3).fit(text_score[known, None], y[known])
        p[scored] = scale.predict_proba(text_score[scored, None])[:, 1]
    found: Floats = p[split.test]
    return found


def _refuse_hopeless(log: ImpressionLog, split: Split) -> None:
    for part in ("train", "validation", "test"):
        labels = log.clicked[getattr(split, part)]
        if len(labels) == 0 or not 0 < labels.mean() < 1:
            raise TrainingError(
                f"the {part} part ({len(labels)} impressions) needs both clicks and non-clicks"
            )


def _visitor_clusters(log: ImpressionLog) -> np.ndarray:
    """A number per visitor; each row without one is its own cluster."""
    alone = [f"row {row}" for row in range(len(log))]
    return np.array([str(visitor or own) for visitor, own in zip(log.visitor.tolist(), alone, strict=True)])


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), tz=UTC).isoformat(timespec="seconds")
