"""Model versions: which folder of weights serves, which did before, and which the gate refused.

One champion of each kind serves. Versions of one training run were made for each other, so that whatever is done to
one of them is done to both: run in the shadow, answer a share of the traffic as a canary, be promoted. A change of what
answers writes an outbox row in its transaction, upon which a new snapshot is built. Rollback is one action.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from adplatform.core import outbox
from adplatform.learning.models import ModelVersion, TextVector, TrainingRun
from ml import artifacts
from ml.ctr.runtime import CompiledBlender
from ml.text.matcher import Matcher

Kind = ModelVersion.Kind
Stage = ModelVersion.Stage


SIMILARITY = "similarity"  # the matcher's name while none is trained: W is the identity
PRIOR = "prior"  # the blender's
STAGED = (Stage.SHADOW, Stage.CANARY)


BrokenModelError = artifacts.ArtifactError  # a folder of weights that is gone or not what it was


class RegistryError(Exception):
    """A version cannot be registered, promoted or rolled back to."""


def champion(kind: str) -> ModelVersion | None:
    """The version of this kind that serves."""
    return ModelVersion.objects.filter(kind=kind, stage=Stage.CHAMPION).first()


def folder_of(version: ModelVersion) -> Path:
    """Where its weights lie."""
    return Path(settings.MODELS_DIR) / version.folder


def load_matcher(version: ModelVersion) -> Matcher:
    """Its weights, verified; they fit the vectors of `version.encoder` and of no other encoder."""
    return Matcher.load(folder_of(version), encoder_id=version.encoder)


def load_blender(version: ModelVersion) -> CompiledBlender:
    """Its compiled trees, verified."""
    return CompiledBlender.load(folder_of(version))


def serving_encoder() -> str:
    """Id of the encoder whose vectors are served: the champion matcher's, else the one that wrote a text last."""
    matcher = champion(Kind.MATCHER)
    if matcher is not None:
        return matcher.encoder
    return TextVector.objects.order_by("-pk").values_list("encoder", flat=True).first() or ""


@dataclass(frozen=True)
class Pair:
    """A matcher and a blender that answer together; None: the platform does without."""

    matcher: ModelVersion | None
    blender: ModelVersion | None

    @property
    def members(self) -> list[ModelVersion]:
        return [version for version in (self.matcher, self.blender) if version]

    @property
    def names(self) -> dict[str, str]:
        """As decisions and picks record them."""
        return {
            "matcher": self.matcher.name if self.matcher else SIMILARITY,
            "blender": self.blender.name if self.blender else PRIOR,
            "encoder": self.matcher.encoder if self.matcher else serving_encoder(),
        }


def champions() -> Pair:
    """What serves."""
    return Pair(champion(Kind.MATCHER), champion(Kind.BLENDER))


def staged(stage: str) -> Pair | None:
    """What runs as shadow or canary: its own versions, completed by the champion of the other kind; None for none."""
    found = {version.kind: version for version in ModelVersion.objects.filter(stage=stage)}
    if not found:
        return None
    serving = champions()
    return Pair(
        found.get(Kind.MATCHER, serving.matcher),
        found.get(Kind.BLENDER, serving.blender),
    )


def served_versions() -> dict[str, str]:
    """Names of what serves, as decisions and picks record them."""
    return champions().names


def of_one_schema(name: str) -> set[str]:
    """Names of all versions that read the same features as this one."""
    schema = ModelVersion.objects.filter(name=name).values("manifest__schema")[:1]
    return set(ModelVersion.objects.filter(manifest__schema__in=schema).values_list("name", flat=True))


def draft_folder(kind: str) -> Path:
    """An empty folder on the models' disk, to be filled by training and taken over by `register`."""
    root = Path(settings.MODELS_DIR) / kind
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".draft-", dir=root))


def register(
    *, kind: str, draft: Path, at: datetime, run: TrainingRun | None, encoder: str, metrics: Mapping[str, Any]
) -> ModelVersion:
    """Take over a finished draft folder as a challenger, under a name that says kind and moment."""
    manifest = artifacts.verify(draft, kind=kind)
    name = _free_name(kind, at)
    target = Path(settings.MODELS_DIR) / kind / name
    draft.chmod(0o755)
    draft.rename(target)
    return ModelVersion.objects.create(
        kind=kind,
        name=name,
        folder=f"{kind}/{name}",
        encoder=encoder,
        run=run,
        manifest={"version": manifest.version, "files": dict(manifest.files), "schema": manifest.schema},
        metrics=dict(metrics),
    )


def discard(draft: Path) -> None:
    """Remove a draft that came to nothing."""
    shutil.rmtree(draft, ignore_errors=True)


@transaction.atomic
def promote(version: ModelVersion, *, at: datetime) -> list[ModelVersion]:
    """Make it, and what was trained with it, the champion of its kind; returns those that it retires.

    A new snapshot follows. A shadow or canary that was compared with the former champion ends. Raises RegistryError
    for a version that the gate refused.
    """
    if version.stage == Stage.REFUSED:
        raise RegistryError(f"{version.name} was refused by the gate and cannot serve.")
    retired = _promote(_together(version), at=at)
    version.refresh_from_db()
    return retired


def _promote(versions: list[ModelVersion], *, at: datetime) -> list[ModelVersion]:
    for version in versions:
        artifacts.verify(folder_of(version), kind=version.kind)
    new = [version for version in versions if version.stage != Stage.CHAMPION]
    kinds = [version.kind for version in new]
    rivals = ModelVersion.objects.select_for_update().filter(kind__in=kinds, stage=Stage.CHAMPION)
    retired = list(rivals.order_by("pk"))
    ModelVersion.objects.filter(pk__in=[one.pk for one in retired]).update(stage=Stage.RETIRED)
    ModelVersion.objects.filter(pk__in=[one.pk for one in new]).update(
        stage=Stage.CHAMPION, promoted_at=at, share_bp=0, staged_at=None
    )
    for version in versions:
        version.refresh_from_db()
    if new:
        names = " with ".join(version.name for version in new)
        _end(ModelVersion.objects.filter(stage__in=STAGED), f"{names} became the champion")
        outbox.write("snapshot", {"reason": f"{names} was promoted"})
    return retired


def refuse(version: ModelVersion) -> None:
    """The gate said no: it is kept, and does not serve."""
    ModelVersion.objects.filter(pk=version.pk).update(stage=Stage.REFUSED)
    version.refresh_from_db()


@transaction.atomic
def start_shadow(version: ModelVersion, *, at: datetime) -> list[ModelVersion]:
    """Let it, and what was trained with it, score what the champion shows; it decides nothing."""
    return _stage(version, Stage.SHADOW, share_bp=0, at=at)


@transaction.atomic
def start_canary(version: ModelVersion, percent: float, *, at: datetime) -> list[ModelVersion]:
    """Let it, and what was trained with it, answer this share of the visitors (0 to 100); again: change the share.

    A visitor stays with the version that answered him while the share grows. A new snapshot follows.
    """
    if not 0 <= percent <= 100:
        raise RegistryError("The share of a canary is between 0 and 100 %.")
    if version.stage == Stage.REFUSED:
        raise RegistryError(f"{version.name} was refused by the gate and cannot answer anybody.")
    versions = _stage(version, Stage.CANARY, share_bp=round(100 * percent), at=at)
    outbox.write("snapshot", {"reason": f"{version.name} answers {percent:g} % of the traffic"})
    return versions


@transaction.atomic
def stop(version: ModelVersion, *, why: str, is_refused: bool = False) -> list[ModelVersion]:
    """End a shadow or canary, with what was trained with it; `is_refused`: it must not come back."""
    running = [one for one in _together(version) if one.stage in STAGED]
    if not running:
        raise RegistryError(f"{version.name} is neither shadow nor canary.")
    _end(ModelVersion.objects.filter(pk__in=[one.pk for one in running]), why, is_refused=is_refused)
    outbox.write("snapshot", {"reason": f"{version.name} ended: {why}"})
    version.refresh_from_db()
    return running


def record_live(pair: Pair, stage: str, figures: Mapping[str, Any]) -> None:
    """Keep what live traffic said of the pair's versions that are in this stage."""
    for version in pair.members:
        if version.stage == stage:
            ModelVersion.objects.filter(pk=version.pk).update(live={**version.live, stage: dict(figures)})


def _stage(version: ModelVersion, stage: str, *, share_bp: int, at: datetime) -> list[ModelVersion]:
    if version.stage == Stage.CHAMPION:
        raise RegistryError(f"{version.name} serves already.")
    versions = [one for one in _together(version) if one.stage != Stage.CHAMPION]
    own = {one.pk for one in versions}
    for running in ModelVersion.objects.select_for_update().filter(stage=stage):
        if running.pk not in own:
            raise RegistryError(
                f"{running.name} is the {running.get_stage_display().lower()}; stop it first."
            )
    for one in versions:
        artifacts.verify(folder_of(one), kind=one.kind)
        is_new = one.stage != stage
        ModelVersion.objects.filter(pk=one.pk).update(
            stage=stage,
            share_bp=share_bp,
            staged_at=at if is_new else one.staged_at,
            live={
                name: kept
                for name, kept in one.live.items()
                if name != "ended" and not (is_new and name == stage)
            },
        )
        one.refresh_from_db()
    version.refresh_from_db()
    return versions


def _end(versions: Iterable[ModelVersion], why: str, *, is_refused: bool = False) -> None:
    for version in versions:
        ModelVersion.objects.filter(pk=version.pk).update(
            stage=Stage.REFUSED if is_refused else Stage.CHALLENGER,
            share_bp=0,
            staged_at=None,
            live={**version.live, "ended": why},
        )


def _together(version: ModelVersion) -> list[ModelVersion]:
    """It and the other versions of its run, fresh from the database."""
    if version.run_id is None:
        return list(ModelVersion.objects.filter(pk=version.pk))
    return list(ModelVersion.objects.filter(run=version.run_id).order_by("kind"))


@transaction.atomic
def rollback(*, at: datetime, kind: str | None = None) -> list[ModelVersion]:
    """Return to the champions before the present ones; matcher and blender together, since they were trained to fit.

    With `kind`, only that one. Raises RegistryError where no earlier champion exists.
    """
    restored = []
    for one in [kind] if kind else list(Kind.values):
        now = champion(one)
        earlier = (
            ModelVersion.objects.filter(kind=one, stage=Stage.RETIRED, promoted_at__isnull=False)
            .order_by("-promoted_at")
            .first()
        )
        if now is None or earlier is None:
            continue
        if kind is None and not _fell_together(now, at):
            continue
        restored.append(earlier)
    if not restored:
        raise RegistryError("There is no earlier champion to return to.")
    _promote(restored, at=at)
    return restored


def _fell_together(now: ModelVersion, at: datetime) -> bool:
    """Whether this champion came with the newest promotion before `at` (a rollback undoes one run, not two)."""
    newest = (
        ModelVersion.objects.filter(stage=Stage.CHAMPION, promoted_at__lt=at)
        .order_by("-promoted_at")
        .values_list("run", flat=True)
        .first()
    )
    return now.run_id == newest


def _free_name(kind: str, at: datetime) -> str:
    name = f"{kind}-{at:%Y%m%d-%H%M%S}"
    taken = set(ModelVersion.objects.filter(name__startswith=name).values_list("name", flat=True))
    number = 2
    candidate = name
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate
