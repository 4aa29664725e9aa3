"""A model folder is loaded only when every file is the one that was trained."""

import json
from pathlib import Path

import numpy as np
import pytest

from ml import artifacts
from ml.artifacts import ArtifactError
from ml.text.matcher import Matcher


def folder_with(path: Path, content: bytes = b"tree\n" * 100) -> artifacts.Manifest:
    (path / "model.txt").write_bytes(content)
    return artifacts.write(
        path,
        kind="blender",
        files=["model.txt"],
        metrics={"ne": 0.9},
        schema="s1",
        seed=7,
        data_range=("2026-01-01", "2026-01-31"),
    )


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    written = folder_with(tmp_path)
    assert artifacts.verify(tmp_path, kind="blender", schema="s1") == written
    assert artifacts.read(tmp_path, written, "model.txt") == b"tree\n" * 100
    assert written.libraries["numpy"] == np.__version__


def test_equal_files_are_equal_versions_and_other_files_are_not(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in "abc")
    for path in (first, second, other):
        path.mkdir()
    assert folder_with(first).version == folder_with(second).version != folder_with(other, b"x").version


@pytest.mark.parametrize("damage", ["truncate", "remove", "swap a byte"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    manifest = folder_with(tmp_path)
    file = tmp_path / "model.txt"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:250])
    elif damage == "remove":
        file.unlink()
    else:
        file.write_bytes(b"T" + file.read_bytes()[1:])
    with pytest.raises(ArtifactError, match=r"model\.txt"):
        artifacts.verify(tmp_path)
    with pytest.raises(ArtifactError):
        artifacts.read(tmp_path, manifest, "model.txt")


def test_an_unfinished_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("trees")
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        artifacts.verify(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "blender"}'])
def test_a_broken_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ArtifactError):
        artifacts.verify(tmp_path)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    folder_with(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"] = {"../other.txt": "0"}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="plain file name"):
        artifacts.verify(tmp_path)


def test_files_that_run_code_when_loaded_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(ArtifactError, match="run code"):
        artifacts.write(
            tmp_path, kind="x", files=["model.pkl"], metrics={}, schema="", seed=0, data_range=("", "")
        )


def test_another_kind_is_refused(tmp_path: Path) -> None:
    folder_with(tmp_path)
    with pytest.raises(ArtifactError, match="not a matcher"):
        Matcher.load(tmp_path)


def test_a_matcher_comes_back_equal_and_only_for_its_encoder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    matcher = Matcher(rng.normal(size=(4, 6)).astype(np.float32), -3.25)
    matcher.save(tmp_path, encoder_id="mini-1", metrics={}, seed=0, data_range=("a", "b"))
    again = Matcher.load(tmp_path, encoder_id="mini-1")
    np.testing.assert_array_equal(again.W, matcher.W)
    assert again.bias == -3.25
    with pytest.raises(ArtifactError, match="other-2"):
        Matcher.load(tmp_path, encoder_id="other-2")
