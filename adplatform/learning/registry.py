"""Model versions: which folder of weights serves, which did before, and which the gate refused.

One champion of each kind; a change of champion writes an outbox row in its transaction, upon which a new snapshot
is built. Rollback is one action.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
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


def served_versions() -> dict[str, str]:
    """Names of what serves, as decisions and picks record them."""
    matcher, blender = champion(Kind.MATCHER), champion(Kind.BLENDER)
    return {
        "matcher": matcher.name if matcher else SIMILARITY,
        "blender": blender.name if blender else PRIOR,
        "encoder": serving_encoder(),
    }


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
def promote(version: ModelVersion, *, at: datetime) -> ModelVersion | None:
    """Make it the champion of its kind; returns the one that it retires. A new snapshot follows."""
    artifacts.verify(folder_of(version), kind=version.kind)
    rivals = list(ModelVersion.objects.select_for_update().filter(kind=version.kind, stage=Stage.CHAMPION))
    retired = next((rival for rival in rivals if rival.pk != version.pk), None)
    if retired is not None:
        ModelVersion.objects.filter(pk=retired.pk).update(stage=Stage.RETIRED)
    ModelVersion.objects.filter(pk=version.pk).update(stage=Stage.CHAMPION, promoted_at=at)
    version.refresh_from_db()
    outbox.write("snapshot", {"reason": f"{version.name} was promoted"})
    return retired


def refuse(version: ModelVersion) -> None:
    """The gate said no: it is kept, and does not serve."""
    ModelVersion.objects.filter(pk=version.pk).update(stage=Stage.REFUSED)
    version.refresh_from_db()


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
        promote(earlier, at=at)
        restored.append(earlier)
    if not restored:
        raise RegistryError("There is no earlier champion to return to.")
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
