"""The `models/` folder of a snapshot: everything that `learning.served` needs, computed ahead of the requests.

Reads cached vectors and the champions' weights; encodes nothing, so that it runs where no transformer is loaded. A
text that has no vector yet is left out, and its creative is scored by statistics until it has one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Count, Max

from adplatform.inventory.models import Site
from adplatform.learning import beliefs, embeddings, registry, served, trial
from adplatform.learning.models import TextVector
from ml import artifacts
from ml.ctr.first_stage import SHORT_DIMENSIONS
from ml.schema import Ints, Vectors
from ml.text.matcher import Matcher

log = logging.getLogger(__name__)

CANARY = "canary"  # folder within the models' one
_LAYOUT = 2  # of the files that `_write_vectors` makes; vectors of another layout are not taken over
SIMILARITY_WEIGHT = 4.0  # log odds per unit of cosine similarity, where nothing was trained


@dataclass(frozen=True, slots=True)
class CreativeText:
    """What the encoder reads of a creative, and the language it is declared in."""

    id: int
    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class SiteText:
    """What the encoder reads of a site."""

    id: int
    text: str


def site_text(site: Site) -> str:
    """What stands for a visitor without a profile: what the site is about."""
    return site.description or " ".join(part for part in (site.name, site.category) if part)


def write_models(
    folder: Path | str,
    *,
    creatives: Sequence[CreativeText],
    sites: Sequence[SiteText],
    last: Path | None = None,
) -> dict[str, str]:
    """Fill the folder from what exists now; returns the versions {"matcher", "blender", "encoder"}.

    Champions that are broken or do not pass their trial (`trial`) do not serve: then the models of `last`, the folder of
    the snapshot before, go on, and where these are broken too, ads are chosen by prior. A canary has a folder of the same
    form below it. A canary that cannot be read ends, and the champion serves.
    """
    root = Path(folder)
    champions = registry.champions()
    try:
        _write_pair(root, champions, creatives, sites, {}, last=last)
    except artifacts.ArtifactError as error:
        log.error("the champions %s cannot serve: %s", champions.names, error)
        return _write_last(root, last, creatives, sites)
    canary = registry.staged(registry.Stage.CANARY)
    if canary is not None:
        _write_canary(root / CANARY, canary, creatives, sites, last / CANARY if last else None)
    return champions.names


def _write_last(
    root: Path, last: Path | None, creatives: Sequence[CreativeText], sites: Sequence[SiteText]
) -> dict[str, str]:
    """The last good models as they are, or none: creatives that came since have no vector."""
    shutil.rmtree(root, ignore_errors=True)
    try:
        if last is None:
            raise artifacts.ArtifactError("there is no snapshot before")
        manifest = artifacts.verify(last, kind=served.KIND)
        names: dict[str, str] = json.loads(artifacts.read(last, manifest, served.SETTINGS))["versions"]
        if (last / served.BLENDER).exists():
            artifacts.verify(last / served.BLENDER, kind=registry.Kind.BLENDER)
        shutil.copytree(last, root, ignore=shutil.ignore_patterns(CANARY))
    except artifacts.ArtifactError as error:
        log.error("no last good models, ads are chosen by prior: %s", error)
        nothing = registry.Pair(None, None)
        _write_pair(root, nothing, creatives, sites, {}, last=None)
        return nothing.names
    return names


def _write_canary(
    root: Path,
    canary: registry.Pair,
    creatives: Sequence[CreativeText],
    sites: Sequence[SiteText],
    last: Path | None,
) -> None:
    own = next(version for version in canary.members if version.stage == registry.Stage.CANARY)
    try:
        if canary.blender is not None:
            registry.load_blender(canary.blender)  # also refuses trees of another feature list
        _write_pair(root, canary, creatives, sites, {"share_bp": own.share_bp}, last=last)
    except artifacts.ArtifactError as error:
        shutil.rmtree(root, ignore_errors=True)
        registry.stop(own, why=f"its files cannot be read: {error}", is_refused=True)


def _write_pair(
    root: Path,
    pair: registry.Pair,
    creatives: Sequence[CreativeText],
    sites: Sequence[SiteText],
    more: Mapping[str, Any],
    *,
    last: Path | None,
) -> None:
    """A matcher and a blender as the ads process reads them; vectors from `last`, if they would be the same."""
    root.mkdir(parents=True, exist_ok=True)
    versions = pair.names
    loaded = registry.load_matcher(pair.matcher) if pair.matcher else None
    made_from = _made_from(versions, creatives, sites)
    files = _linked_vectors(root, last, made_from)
    if not files:
        files = _write_vectors(root, versions["encoder"], loaded, creatives, sites)
    told = {
        "versions": versions,
        "vectors": made_from,
        "bias": loaded.bias if loaded else 0.0,
        "text_weight": 1.0 if loaded else SIMILARITY_WEIGHT,
        "belief": asdict(beliefs.serving()),
        **more,
    }
    (root / served.SETTINGS).write_text(json.dumps(told))
    if pair.blender is not None:
        own = registry.folder_of(pair.blender)
        artifacts.verify(own, kind=registry.Kind.BLENDER)
        trial.hold(own, passed=Path(settings.MODELS_DIR) / trial.PASSED)
        shutil.copytree(own, root / served.BLENDER, dirs_exist_ok=True)
    artifacts.write(
        root,
        kind=served.KIND,
        files=[*files, served.SETTINGS],
        metrics={},
        schema=versions["encoder"],
        seed=0,
        data_range=("", ""),  # equal models make equal files
    )


def _made_from(
    versions: Mapping[str, str], creatives: Sequence[CreativeText], sites: Sequence[SiteText]
) -> str:
    """A hash of all that vectors follow from: the matcher, the texts, and which of them were encoded by now."""
    encoded = TextVector.objects.filter(encoder=versions["encoder"]).aggregate(Count("pk"), Max("pk"))
    made_by = [_LAYOUT, versions["matcher"], versions["encoder"], encoded]
    digest = hashlib.sha256(json.dumps(made_by).encode())
    texts: list[CreativeText | SiteText] = [*creatives, *sites]
    for one in texts:
        digest.update(f"{one.id}\0{one.text}\0".encode())
    return digest.hexdigest()


def _linked_vectors(root: Path, last: Path | None, made_from: str) -> list[str]:
    """The last snapshot's vectors, if they were made from the same and are still whole; else nothing."""
    try:
        if last is None:
            return []
        manifest = artifacts.verify(last, kind=served.KIND)
        if json.loads(artifacts.read(last, manifest, served.SETTINGS)).get("vectors") != made_from:
            return []
        names = [name for name in manifest.files if name.endswith(".npy")]
        for name in names:
            os.link(last / name, root / name)
    except (artifacts.ArtifactError, OSError) as error:
        log.warning("vectors are made anew: %s", error)
        return []
    return names


def _write_vectors(
    root: Path,
    encoder_id: str,
    matcher: Matcher | None,
    creatives: Sequence[CreativeText],
    sites: Sequence[SiteText],
) -> list[str]:
    ids, V = _known([(one.id, one.text) for one in creatives], encoder_id)
    site_ids, U = _known([(one.id, one.text) for one in sites], encoder_id)
    projected = matcher.project(V) if matcher and len(V) else V
    if not np.isfinite(projected).all():
        raise artifacts.ArtifactError("the matcher gives vectors that are no numbers")
    arrays: dict[str, Any] = {
        served.CREATIVE_IDS: ids,
        served.CREATIVES: served.with_nothing(projected),
        served.SITE_IDS: site_ids,
        served.SITES: served.with_nothing(U),
    }
    if len(V) > SHORT_DIMENSIONS:
        arrays |= served.short_form(projected)
    for name, array in arrays.items():
        (root / name).unlink(missing_ok=True)  # never into a file that another snapshot has
        np.save(root / name, array, allow_pickle=False)
    return list(arrays)


def _known(texts: Sequence[tuple[int, str]], encoder_id: str) -> tuple[Ints, Vectors]:
    """Ids in ascending order and vectors of those texts that have one."""
    ordered = sorted(texts)
    vectors = embeddings.cached(encoder_id, [text for _, text in ordered])
    has = embeddings.has_vector(vectors)
    ids = np.array([number for number, _ in ordered], np.int64)
    return ids[has], vectors[has]
