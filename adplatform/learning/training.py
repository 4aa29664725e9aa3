"""From the training table to a challenger: a matcher, a blender on top of it, and both judged on the newest day.

The blender must learn from text scores of a matcher that had not seen the row, so matchers of ever longer pasts score
what follows them (ml.text.train.train_in_time_order). What serves is the last of these matchers: it has not seen the
validation day, on which the trees are stopped and the level is set, nor the newest day, on which the gate judges the
pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.conf import settings

from adplatform.learning import conversions, dataset, parameters, registry
from adplatform.learning.gate import NewestDay
from adplatform.learning.models import ModelVersion
from adplatform.learning.scorer import prior_ctr
from ml.ctr import features
from ml.ctr.replay import replay
from ml.ctr.runtime import CompiledBlender
from ml.ctr.train import ClickModel, Split, split_by_time, train_click_model
from ml.evaluation import metrics
from ml.schema import Floats, Mask
from ml.text.matcher import Matcher
from ml.text.train import TrainReport, train_in_time_order
from ml.value.conversion import Learned, learn

MOMENT_SECONDS = 1e-3
FEWEST_TEXT_CLICKS = 60  # fewer clicked pairs teach a matcher nothing
MOST_MATCHER_ROWS = 400_000  # the newest; more teach it little and cost hours


@dataclass(frozen=True)
class Stack:
    """A matcher and a blender that answer together; None: the platform does without."""

    matcher: Matcher | None
    blender: CompiledBlender | None
    name: str

    @classmethod
    def serving(cls) -> Stack:
        """What serves now."""
        found = {kind: registry.champion(kind) for kind in ModelVersion.Kind.values}
        matcher, blender = found[ModelVersion.Kind.MATCHER], found[ModelVersion.Kind.BLENDER]
        return cls(
            registry.load_matcher(matcher) if matcher else None,
            registry.load_blender(blender) if blender else None,
            " with ".join(version.name for version in (matcher, blender) if version) or "the prior",
        )


@dataclass(frozen=True)
class Material:
    """The table, what was known at each row, and how its rows are parted by time."""

    data: dataset.Dataset
    raw: Mapping[str, Floats]
    split: Split

    def newest_day(self) -> NewestDay:
        """Labels, visitors and guarded segments of the test rows."""
        log, rows = self.data.log, self.split.test
        alone = np.char.add("row ", np.arange(len(log)).astype(str)).astype(object)
        who = np.where(log.visitor.astype(str) == "", alone, log.visitor)
        device = log.context["device"]
        return NewestDay(
            clicked=log.clicked[rows],
            cluster=who[rows].astype(str),
            segments={"slot": log.slot[rows], "device": np.nan_to_num(device, nan=-1.0)[rows]},
        )

    def predict(self, stack: Stack) -> Floats:
        """The stack's click probabilities of the newest day, as it would have served them."""
        raw, log = self._newest(stack), self.data.log.take(self.split.test)
        if stack.blender is not None:
            return stack.blender.predict(features.build(raw), campaign=log.campaign, slot=log.slot)
        return prior_ctr(raw, text_weight=1.0 if stack.matcher else 0.0)

    def uncalibrated(self, blender: CompiledBlender, matcher: Matcher | None) -> Floats:
        """The same before calibration: what the trees say."""
        log_odds = blender.log_odds(features.build(self._newest(Stack(matcher, blender, ""))))
        p: Floats = 1 / (1 + np.exp(-(log_odds + blender.calibration.offset)))
        return p

    def _newest(self, stack: Stack) -> dict[str, Floats]:
        rows = self.split.test
        raw = {name: column[rows] for name, column in self.raw.items()}
        return raw | {"text_score": self.data.text_scores(stack.matcher)[rows]}


def material(data: dataset.Dataset) -> Material:
    """Replay and part the table. The newest day are the 24 hours that end with the newest impression."""
    time = data.log.time
    return Material(data, replay(data.log), split_by_time(time - time.max() - MOMENT_SECONDS))


@dataclass(frozen=True)
class FittedMatcher:
    """A matcher of everything before the validation day, and text scores that no row's own label shaped.

    `warm_up`: the first rows, which no matcher could score without having seen them.
    """

    matcher: Matcher
    report: TrainReport
    scores: Floats
    warm_up: Mask


def fit_matcher(prepared: Material, *, seed: int) -> FittedMatcher | None:
    """Train on the rows that have both vectors; None where too few of them were clicked."""
    data = prepared.data
    usable = prepared.split.train & data.has_text
    if data.log.clicked[usable].sum() < FEWEST_TEXT_CLICKS:
        return None
    rows = np.flatnonzero(data.has_text)[-MOST_MATCHER_ROWS:]
    time = data.log.time[rows]
    found = train_in_time_order(
        data.U,
        data.V,
        data.log.clicked[rows],
        u_index=data.u[rows],
        v_index=data.v[rows],
        time=time,
        train=usable[rows],
        seed=seed,
        refit=True,
        device=_device(),
    )
    scores = np.full(len(data), np.nan)
    scores[rows] = found.score
    return FittedMatcher(found.matcher, found.report, scores, data.log.time <= time[found.warm_up].max())


def fit_blender(prepared: Material, scores: Floats, warm_up: Mask | None, *, seed: int) -> ClickModel:
    """Trees on what was known at each row and these text scores."""
    return train_click_model(
        prepared.data.log,
        text_score=scores,
        warm_up=warm_up,
        split=prepared.split,
        seed=seed,
        parameters=parameters.tuned(),
        most_rows=settings.TRAINING_ROWS,
    )


def fit_conversions(prepared: Material, scores: Floats, *, at: datetime) -> Learned:
    """The conversion model, or why the smoothed rate serves; scores as the blender trained on them."""
    return learn(conversions.clicks(prepared.data.log, scores, until=at))


def figures(p: Floats, day: NewestDay) -> dict[str, float]:
    """The figures of a model on the newest day."""
    return metrics.summary(p, day.clicked)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
