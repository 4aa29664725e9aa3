"""Training through the gate, and the picks that scoring makes: what jobs, commands and the console call."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from adplatform.core import clock
from adplatform.jobs.registry import Progress
from adplatform.learning import (
    cards,
    dataset,
    embeddings,
    explain,
    parameters,
    quality,
    registry,
    training,
    valuation,
)
from adplatform.learning.gate import NewestDay, Verdict, judge
from adplatform.learning.models import ModelVersion, TrainingRun
from adplatform.learning.profiles import embed_creatives, embed_visitors
from adplatform.learning.training import FittedMatcher, Material, Stack
from ml.ctr.calibrate import reliability
from ml.ctr.runtime import CompiledBlender
from ml.ctr.train import ClickModel, TrainingError
from ml.value.conversion import Learned

__all__ = ["TrainingResult", "embed_creatives", "embed_visitors", "train"]

Kind = ModelVersion.Kind
STEPS = 5


@dataclass(frozen=True)
class TrainingResult:
    """One run through the gate. `metrics` has the figures of champion, challenger and simpler models."""

    run: TrainingRun
    versions: list[ModelVersion]
    is_promoted: bool
    verdict: str
    metrics: Mapping[str, Any] = field(default_factory=dict)


def train(
    *, at: datetime, only: str | None = None, seed: int = 0, progress: Progress | None = None
) -> TrainingResult:
    """Train on everything before `at`, compare with what serves, and promote or refuse.

    `only` ('matcher' or 'blender') trains that one and joins it with the serving other. `progress` is told the steps
    done: texts, table, matcher, blender, of five; the comparison is the last.
    """
    started = time.process_time()
    run = TrainingRun.objects.create(started_at=clock.now(), seed=seed)
    done = partial(_done, progress)
    embed_creatives(at)
    done(1)
    try:
        result = _train(run, at=at, only=only, seed=seed, done=done)
        _write_cards(result, cpu_seconds=time.process_time() - started)
        return result
    except TrainingError as error:
        return _close(run, [], {}, Verdict(False, f"Not trained: {error}.", {}), at=at)


def _write_cards(result: TrainingResult, *, cpu_seconds: float) -> None:
    for version in result.versions:
        version.card = cards.card(version, result.run, cpu_seconds=cpu_seconds)
        version.save(update_fields=["card"])


def _done(progress: Progress | None, step: int) -> None:
    if progress is not None:
        progress(step, STEPS)


def _train(
    run: TrainingRun, *, at: datetime, only: str | None, seed: int, done: Callable[[int], None]
) -> TrainingResult:
    data = dataset.build(until=at)
    if not len(data):
        raise TrainingError("there are no impressions to learn from")
    prepared = training.material(data)
    _describe(run, prepared)
    quality.guard(run, prepared, at=at)
    done(2)
    champion = Stack.serving()
    fitted = None if only == Kind.BLENDER else training.fit_matcher(prepared, seed=seed)
    done(3)
    matcher = fitted.matcher if fitted else champion.matcher
    scores = fitted.scores if fitted else prepared.data.text_scores(champion.matcher)
    model = (
        None
        if only == Kind.MATCHER
        else training.fit_blender(prepared, scores, fitted.warm_up if fitted else None, seed=seed)
    )
    done(4)
    if fitted is None and model is None:
        raise TrainingError("too few impressions with text were clicked to train a matcher")
    learned = training.fit_conversions(prepared, scores, at=at) if model else None
    versions, blender = _register(run, at, fitted, model, prepared, learned=learned)
    challenger = Stack(matcher, blender or champion.blender, " with ".join(one.name for one in versions))
    return _decide(
        run,
        versions,
        challenger=challenger,
        champion=champion,
        prepared=prepared,
        model=model,
        learned=learned,
        at=at,
    )


def _decide(
    run: TrainingRun,
    versions: list[ModelVersion],
    *,
    challenger: Stack,
    champion: Stack,
    prepared: Material,
    model: ClickModel | None,
    learned: Learned | None,
    at: datetime,
) -> TrainingResult:
    day = prepared.newest_day()
    p, before = prepared.predict(challenger), prepared.predict(champion)
    worth = _worth(challenger, champion, prepared, at=at)
    verdict = judge(p, before, day, champion_name=champion.name, offpolicy=worth)
    prior = prepared.predict(Stack(None, None, "the prior"))
    simpler = {} if model is None else model.metrics
    measured = {
        "challenger": {"name": challenger.name, **training.figures(p, day)},
        "champion": {"name": champion.name, **training.figures(before, day)},
        "prior": training.figures(prior, day),
        "compared": {name: one for name, one in simpler.items() if name != "full"},
        "text_gain": list(model.gain) if model else None,
        "parameters": parameters.tuned() if model else {},
        "importance": explain.importance(prepared, challenger.matcher, model.blender) if model else {},
        "gate": verdict.figures,
        "reliability": reliability(p, day.clicked),
        "calibration": _calibration(model, challenger, prepared, day) if model else {},
        "conversion": learned.figures if learned else {},
        "offpolicy": worth or {},
    }
    return _close(run, versions, measured, verdict, at=at)


def _calibration(model: ClickModel, challenger: Stack, prepared: Material, day: NewestDay) -> dict[str, Any]:
    """What was chosen among the candidates and why, and the newest day's reliability without it."""
    chosen, blender = model.chosen, challenger.blender
    return {
        "chosen": chosen.calibration.kind,
        "why": chosen.why,
        "candidates": chosen.candidates,
        "before": reliability(prepared.uncalibrated(blender, challenger.matcher), day.clicked)["bins"]
        if blender
        else [],
    }


def _worth(challenger: Stack, champion: Stack, prepared: Material, *, at: datetime) -> dict[str, Any] | None:
    """What the challenger's choices of the newest day would have earned beside the champion's; None where no
    blender served, so that no choice can be asked about again."""
    if challenger.blender is None or champion.blender is None:
        return None
    found = valuation.choices(since=at - timedelta(days=1), until=at)
    newer = challenger.matcher if challenger.matcher is not champion.matcher else None
    believed = valuation.believed(found, blender=challenger.blender, matcher=newer, data=prepared.data)
    return valuation.compare(found, believed, found.pctr)


def _register(
    run: TrainingRun,
    at: datetime,
    fitted: FittedMatcher | None,
    model: ClickModel | None,
    prepared: Material,
    *,
    learned: Learned | None,
) -> tuple[list[ModelVersion], CompiledBlender | None]:
    """Save what was trained as challengers; returns them and the blender as serving will load it.

    A conversion model lies in the blender's folder: what becomes of the one becomes of the other.
    """
    versions = []
    encoder_id = embeddings.encoder().id
    if fitted:
        versions.append(_save_matcher(run, at, fitted, encoder_id, prepared))
    if model is None:
        return versions, None
    draft = registry.draft_folder(Kind.BLENDER)
    model.save(draft, others=[learned.model] if learned and learned.model else [])
    blender = registry.register(
        kind=Kind.BLENDER,
        draft=draft,
        at=at,
        run=run,
        encoder=encoder_id,
        metrics=_plain(model.metrics["full"]),
    )
    return [*versions, blender], registry.load_blender(blender)


def _save_matcher(
    run: TrainingRun, at: datetime, fitted: FittedMatcher, encoder_id: str, prepared: Material
) -> ModelVersion:
    draft = registry.draft_folder(Kind.MATCHER)
    moments = prepared.data.log.time[prepared.split.train]
    report = fitted.report
    fitted.matcher.save(
        draft,
        encoder_id=encoder_id,
        metrics=report.metrics,
        seed=run.seed,
        data_range=(_iso(moments.min()), _iso(moments.max())),
    )
    return registry.register(
        kind=Kind.MATCHER,
        draft=draft,
        at=at,
        run=run,
        encoder=encoder_id,
        metrics=_plain({"epochs": report.epochs, "best_epoch": report.best_epoch, **report.metrics}),
    )


def _describe(run: TrainingRun, prepared: Material) -> None:
    moments = prepared.data.log.time
    run.rows = len(moments)
    run.data_from, run.data_until = _moment(moments.min()), _moment(moments.max())


def _close(
    run: TrainingRun,
    versions: list[ModelVersion],
    measured: dict[str, Any],
    verdict: Verdict,
    *,
    at: datetime,
) -> TrainingResult:
    figures = {**run.metrics, **_plain(measured)}
    with transaction.atomic():
        words = _roll_out(versions, verdict, at=at)
        is_promoted = any(version.stage == registry.Stage.CHAMPION for version in versions)
        run.finished_at = max(clock.now(), run.started_at)
        run.metrics, run.verdict, run.is_promoted = figures, words, is_promoted
        run.save()
    return TrainingResult(run, versions, is_promoted, words, figures)


def _roll_out(versions: list[ModelVersion], verdict: Verdict, *, at: datetime) -> str:
    """Promote what passed, or try it first where the operator wants that and something serves; returns the words."""
    if not versions or not verdict.is_promoted:
        for version in versions:
            registry.refuse(version)
        return verdict.words
    way = settings.MODEL_ROLLOUT if registry.champions().members else "promote"
    try:
        if way == "canary":
            registry.start_canary(versions[0], settings.CANARY_PERCENT, at=at)
        elif way == "shadow":
            registry.start_shadow(versions[0], at=at)
    except registry.RegistryError as error:
        return f"Passed the gate, and waits: {error} {verdict.words}"
    if way == "promote":
        registry.promote(versions[0], at=at)
    for version in versions:
        version.refresh_from_db()
    passed = verdict.words.removeprefix("Promoted: ")
    share = (
        f"answers {settings.CANARY_PERCENT} % of the visitors" if way == "canary" else "scores in the shadow"
    )
    return verdict.words if way == "promote" else f"Passed the gate and {share}: {passed}"


def _plain(value: Any) -> Any:
    """As JSON holds it: six digits, null for what could not be computed."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _iso(seconds: float) -> str:
    return _moment(seconds).isoformat(timespec="seconds")
