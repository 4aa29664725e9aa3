"""No blender serves before it passed a trial; one that does not leaves the last good models serving."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adplatform.core import clock
from adplatform.learning import publish, registry, served, trial
from adplatform.learning.models import ModelVersion
from adplatform.learning.registry import Kind
from adplatform.learning.trial import UnfitError
from ml import artifacts
from ml.ctr import compile as compiler
from ml.ctr.blender import FILE, Blender, train_blender
from ml.ctr.calibration import Calibration
from ml.ctr.features import SCHEMA
from ml.ctr.runtime import TREES, Trees

SPAN = ("2026-06-01T00:00:00+00:00", "2026-06-15T00:00:00+00:00")


@pytest.fixture(scope="module")
def blender() -> Blender:
    X = np.tile(trial.rows(), (20, 1))
    y = (np.nan_to_num(X[:, 0]) > 1.0).astype(float)
    return train_blender(X, y, time_order=np.arange(len(X)), most_trees=20)


def written(folder: Path, blender: Blender) -> Path:
    """A blender's folder as training leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler.compile_blender(blender, folder)
    Calibration("level", (0.0,)).save(folder)
    blender.save(folder)
    return sealed(folder)


def sealed(folder: Path) -> Path:
    """With a manifest that names the files as they are now: what a hash cannot find."""
    (folder / artifacts.MANIFEST).unlink(missing_ok=True)
    files = sorted(path.name for path in folder.iterdir())
    artifacts.write(folder, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=1, data_range=SPAN)
    return folder


def truncated(folder: Path) -> None:
    """Half of the text: LightGBM loads it without a word."""
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text[: len(text) // 2])


def lying(folder: Path) -> None:
    """A head that promises other leaves than there are: LightGBM aborts the process."""
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace("num_leaves=", "num_leaves=9", 1))


def changed(folder: Path, **tables: np.ndarray) -> None:
    path = folder / TREES
    replace(Trees.parse(path.read_bytes()), **tables).save(path)


def nan_leaf(folder: Path) -> None:
    trees = Trees.parse((folder / TREES).read_bytes())
    changed(folder, leaf=np.full_like(trees.leaf, np.nan))


def astray(folder: Path) -> None:
    """A node that leads out of its table: the compiled loop would read what is not there."""
    trees = Trees.parse((folder / TREES).read_bytes())
    nodes = trees.nodes.copy()
    nodes["child"][0] = len(nodes)
    changed(folder, nodes=nodes)


def cut(folder: Path) -> None:
    content = (folder / TREES).read_bytes()
    (folder / TREES).write_bytes(content[: len(content) // 2])


def slow(folder: Path) -> None:
    """The same values after much work: leaves are their own children, however often one goes on."""
    trees = Trees.parse((folder / TREES).read_bytes())
    changed(folder, depth=np.full_like(trees.depth, 100_000))


DAMAGE = {"truncated": truncated, "lying": lying, "nan": nan_leaf, "cut": cut, "astray": astray, "slow": slow}


def test_a_good_blender_passes_once(
    blender: Blender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "good", blender)
    trial.hold(folder, passed=tmp_path / "passed")
    monkeypatch.setattr(trial.subprocess, "run", None)  # it is not tried again
    trial.hold(folder, passed=tmp_path / "passed")


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_a_hash_cannot_find_a_trial_refuses(blender: Blender, tmp_path: Path, damage: str) -> None:
    folder = written(tmp_path / damage, blender)
    DAMAGE[damage](folder)
    sealed(folder)
    with pytest.raises(UnfitError):
        trial.hold(folder, passed=tmp_path / "passed")
    assert not (tmp_path / "passed").exists()


@pytest.mark.parametrize("damage", ["nan", "cut", "astray", "slow"])
def test_a_serving_process_refuses_them_too(blender: Blender, tmp_path: Path, damage: str) -> None:
    folder = written(tmp_path / damage, blender)
    DAMAGE[damage](folder)
    with pytest.raises(artifacts.ArtifactError):  # by the hash alone
        served.CompiledBlender.load(folder)
    sealed(folder)
    with pytest.raises(Exception, match=r"no numbers|ms for|cannot be read|lead out"):
        trial.check(served.CompiledBlender.load(folder))


@pytest.fixture
def champion(db: None, blender: Blender, tmp_path: Path, settings: Any) -> ModelVersion:
    settings.MODELS_DIR = tmp_path / "models"
    draft = registry.draft_folder(Kind.BLENDER)
    written(draft, blender)
    made = registry.register(kind=Kind.BLENDER, draft=draft, at=clock.now(), run=None, encoder="", metrics={})
    registry.promote(made, at=clock.now())
    return made


def _published(folder: Path, last: Path | None) -> str:
    publish.write_models(folder, creatives=[], sites=[], last=last)
    served.Models.load(folder)
    told = json.loads((folder / served.SETTINGS).read_text())
    return str(told["versions"]["blender"])


def _gone(folder: Path) -> None:
    (folder / TREES).unlink()


Damage = Callable[[Path], None]


@pytest.mark.parametrize("damage", [_gone, truncated, lambda folder: (nan_leaf(folder), sealed(folder))])
def test_the_last_good_models_go_on(champion: ModelVersion, tmp_path: Path, damage: Damage) -> None:
    good = champion.name
    assert _published(tmp_path / "first", None) == good
    damage(registry.folder_of(champion))
    assert _published(tmp_path / "second", tmp_path / "first") == good
    # Where these are broken too, ads are chosen by prior; nothing stands still.
    (tmp_path / "first" / served.BLENDER / TREES).write_bytes(b"")
    assert _published(tmp_path / "third", tmp_path / "first") == registry.PRIOR
    assert _published(tmp_path / "fourth", None) == registry.PRIOR
