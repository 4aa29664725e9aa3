"""Training of the bilinear matcher.

Two objectives. Where impressions stand alone: binary cross-entropy. Where arms compete for the same audience (a
randomised test, a slate): the conditional logit, in which whatever lifts all arms of a group alike cancels. With
impressions Iₖ and clicks cₖ it is the likelihood of c given their sum when rates are proportional to exp(sₖ):
−Σ cₖ·ln(Iₖ·exp(sₖ) / Σⱼ Iⱼ·exp(sⱼ)).

W = s·1 + D: it starts as scaled cosine similarity (D = 0), and weight decay pulls it back there, not to nothing.
"""

from __future__ import annotations

import time as clock
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ml.ctr.calibrate import fit_level
from ml.evaluation import metrics
from ml.schema import Column, Floats, Ints, Mask, Vectors
from ml.text.bilinear import Bilinear, Rows, Settings, Table, descend, run_epochs, scores
from ml.text.matcher import Matcher


@dataclass(frozen=True)
class TrainReport:
    """What training did. `metrics` has a summary per part: train, validation and, where given, test."""

    epochs: int
    best_epoch: int
    validation_losses: list[float]
    seconds: float
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def train_matcher(
    U: Vectors,
    V: Vectors,
    y: Floats,
    *,
    u_index: Ints | None = None,
    v_index: Ints | None = None,
    weight: Floats | None = None,
    group: Column | None = None,
    time: Column | None = None,
    validation: float | Mask = 0.2,
    test: Mask | None = None,
    seed: int = 0,
    epochs: int = 40,
    batch_size: int = 4_096,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.05,
    patience: int = 4,
    refit: bool = False,
    log_folder: Path | str | None = None,
    device: str = "cpu",
) -> tuple[Matcher, TrainReport]:
    """Fit a matcher; returns it as it was at the epoch of least validation loss.

    Row r pairs U[u_index[r]] with V[v_index[r]] (row r of each where no index is given). `y` is a label or a
    rate, `weight` its impressions. `group` switches to the conditional logit. `validation` is a mask, or a share:
    then the latest rows by `time` (whole groups), or the last ones. Rows of `test` are only reported on.
    `refit` trains again on train and validation together for the number of epochs found (the report's
    figures of validation are then in-sample).
    """
    started = clock.perf_counter()
    table = _table(U, V, y, u_index=u_index, v_index=v_index, weight=weight, group=group)
    parts = _parts(table, time, validation, test)
    settings = Settings(epochs, batch_size, learning_rate, weight_decay, patience, seed, log_folder)
    rows = Rows.of(table, device)
    model, losses, best = _fitted(rows, table, parts, settings, device=device, refit=refit)
    shift = 0.0 if table.group is None else missing_level(scores(model, rows), table, parts["train"])
    matcher = model.matcher()
    final = scores(model, rows) + shift
    return matcher.with_bias(matcher.bias + shift), TrainReport(
        epochs=len(losses) - 1,
        best_epoch=best,
        validation_losses=losses,
        seconds=clock.perf_counter() - started,
        metrics={name: _summary(final, table, part) for name, part in parts.items() if len(part)},
    )


def _table(
    U: Vectors,
    V: Vectors,
    y: Floats,
    *,
    u_index: Ints | None,
    v_index: Ints | None,
    weight: Floats | None,
    group: Column | None,
) -> Table:
    every = np.arange(len(y))
    return Table(
        U=U,
        V=V,
        u=every if u_index is None else u_index,
        v=every if v_index is None else v_index,
        y=np.asarray(y, dtype=np.float64),
        weight=np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64),
        group=None if group is None else np.unique(group, return_inverse=True)[1].astype(np.int64),
    )


def _fitted(
    rows: Rows, table: Table, parts: dict[str, Ints], settings: Settings, *, device: str, refit: bool
) -> tuple[Bilinear, list[float], int]:
    """The model, the validation loss of each epoch, and the epoch that was best."""
    import torch

    def fresh(part: Ints) -> Bilinear:
        return Bilinear(table.U.shape[1], table.V.shape[1], bias=base_log_odds(table, part), device=device)

    torch.manual_seed(settings.seed)
    model = fresh(parts["train"])
    losses, best = descend(model, rows, parts, settings)
    if refit:
        both = np.concatenate([parts["train"], parts["validation"]])
        model = fresh(both)
        run_epochs(model, rows, both, settings, epochs=best)
    return model, losses, best


@dataclass(frozen=True)
class TimeOrderedScores:
    """A matcher for serving, and scores that the blender may be trained on.

    `score` of a row comes from a matcher that saw only earlier blocks of time; it is NaN in the first block
    (`warm_up`), which nothing scored. Rows after the training part are scored by the matcher itself.
    """

    matcher: Matcher
    report: TrainReport
    score: Floats
    warm_up: Mask


def train_in_time_order(
    U: Vectors,
    V: Vectors,
    y: Floats,
    *,
    u_index: Ints,
    v_index: Ints,
    time: Floats,
    train: Mask,
    blocks: int = 3,
    seed: int = 0,
    **settings: Any,
) -> TimeOrderedScores:
    """Train on ever longer pasts, so that no row's score comes from a matcher that saw the row or its future.

    A blender trained on in-sample scores would trust the matcher more than it deserves. `train` marks the rows
    that the matcher may learn from; the last matcher learns from all of them. `settings` go to `train_matcher`.
    """
    edges = np.quantile(time[train], np.linspace(0, 1, blocks + 1)[1:-1])
    block = np.where(train, np.searchsorted(edges, time, side="right"), blocks)
    score = np.full(len(y), np.nan)
    for number in range(1, blocks + 1):
        past, now = np.flatnonzero(block < number), np.flatnonzero(block == number)
        matcher, report = train_matcher(
            U,
            V,
            y[past],
            u_index=u_index[past],
            v_index=v_index[past],
            time=time[past],
            seed=seed,
            **settings,
        )
        score[now] = matcher.score_pairs(U, V, u_index[now], v_index[now])
    return TimeOrderedScores(matcher=matcher, report=report, score=score, warm_up=block == 0)


def _parts(table: Table, time: Column | None, validation: float | Mask, test: Mask | None) -> dict[str, Ints]:
    """Row positions of train, validation and test; validation is the latest, and takes whole groups."""
    rest = np.arange(len(table.y)) if test is None else np.flatnonzero(~test)
    held = np.array([], dtype=np.int64) if test is None else np.flatnonzero(test)
    if not isinstance(validation, float):
        mask = np.asarray(validation)
        return {"train": rest[~mask[rest]], "validation": rest[mask[rest]], "test": held}
    moment = rest.astype(np.float64) if time is None else np.asarray(time, dtype=np.float64)[rest]
    if table.group is not None:  # a group belongs to the time of its last row
        latest = np.full(int(table.group.max()) + 1, -np.inf)
        np.maximum.at(latest, table.group[rest], moment)
        moment = latest[table.group[rest]]
    cut = np.quantile(moment, 1 - validation)
    return {"train": rest[moment <= cut], "validation": rest[moment > cut], "test": held}


def base_log_odds(table: Table, part: Ints) -> float:
    """Log odds of the mean rate of the part: where a bias starts."""
    rate = float(np.average(table.y[part], weights=table.weight[part]))
    rate = min(max(rate, 1e-6), 1 - 1e-6)
    return float(np.log(rate / (1 - rate)))


def missing_level(found: Floats, table: Table, part: Ints) -> float:
    """The conditional logit knows no level: what to add to the bias so that training clicks are met."""
    # Scores may lie anywhere, farther off than a level is allowed to be: they are first moved to the mean rate.
    shift = base_log_odds(table, part) - float(np.average(found[part], weights=table.weight[part]))
    level = fit_level(sigmoid(found[part] + shift), table.y[part], table.weight[part], prior_clicks=0.0)
    return shift + float(np.log(level.factor))


def _summary(found: Floats, table: Table, part: Ints) -> dict[str, float]:
    y, weight = table.y[part], table.weight[part]
    figures = metrics.summary(sigmoid(found[part]), y, weight)
    if table.group is not None:
        figures["pairwise"], _ = metrics.pairwise_accuracy(found[part], y * weight, weight, table.group[part])
    return figures


def sigmoid(log_odds: Floats) -> Floats:
    """Probabilities of log odds."""
    p: Floats = 1 / (1 + np.exp(-np.clip(log_odds, -40, 40)))
    return p
