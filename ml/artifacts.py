"""A trained model on disk: a folder with a manifest that names and hashes every file.

Nothing is loaded before its hash is checked: LightGBM reads a truncated text file without a word and
predicts from the trees that are left. Weights are safetensors, trees are text and tables; pickles are refused.
This module is imported by the ads process: standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
LIBRARIES = ("numpy", "lightgbm", "onnx", "onnxruntime", "torch", "transformers", "safetensors")
EXECUTABLE_WHEN_LOADED = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".bin")


class ArtifactError(Exception):
    """A model folder that must not be loaded: a file is missing, changed, or of another kind."""


@dataclass(frozen=True)
class Manifest:
    """What a model folder says about itself; `files` maps each name to its sha256."""

    kind: str
    files: Mapping[str, str]
    metrics: Mapping[str, Any]
    schema: str
    seed: int
    data_range: tuple[str, str]
    libraries: Mapping[str, str]

    @property
    def version(self) -> str:
        """Twelve hex digits over the hashes of all files: equal files, equal version."""
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(self.files.items()))
        return hashlib.sha256(f"{self.kind} {self.schema}\n{lines}".encode()).hexdigest()[:12]


def schema_hash(names: Sequence[str]) -> str:
    """Sixteen hex digits that change when a column is added, dropped, renamed or moved."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def write(
    folder: Path | str,
    *,
    kind: str,
    files: Sequence[str],
    metrics: Mapping[str, Any],
    schema: str,
    seed: int,
    data_range: tuple[str, str],
) -> Manifest:
    """Hash the named files of the folder and write its manifest, last and in one piece.

    A folder without a manifest is an unfinished one; a reader refuses it.
    """
    root = Path(folder)
    for name in files:
        _check_name(name)
    manifest = Manifest(
        kind=kind,
        files={name: _digest(root / name) for name in files},
        metrics=dict(metrics),
        schema=schema,
        seed=seed,
        data_range=data_range,
        libraries=_library_versions(),
    )
    _write_durably(root / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True).encode())
    return manifest


def verify(folder: Path | str, *, kind: str | None = None, schema: str | None = None) -> Manifest:
    """The manifest of a folder whose every file is present and unchanged; else ArtifactError.

    `kind` and `schema`, where given, must be the folder's: trees of another feature list are refused.
    """
    root = Path(folder)
    manifest = _read_manifest(root)
    for name, digest in manifest.files.items():
        _check_name(name)
        if _digest(root / name) != digest:
            raise ArtifactError(f"{root / name} is not the file that was trained (sha256 differs)")
    if kind is not None and manifest.kind != kind:
        raise ArtifactError(f"{root} holds a {manifest.kind}, not a {kind}")
    if schema is not None and manifest.schema != schema:
        raise ArtifactError(f"{root} was trained on other features ({manifest.schema}, here {schema})")
    return manifest


def read(folder: Path | str, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file, checked again as read, so that what is loaded is what was verified."""
    if name not in manifest.files:
        raise ArtifactError(f"{folder} names no file {name}")
    content = _bytes_of(Path(folder) / name)
    if hashlib.sha256(content).hexdigest() != manifest.files[name]:
        raise ArtifactError(f"{Path(folder) / name} is not the file that was trained (sha256 differs)")
    return content


def _read_manifest(root: Path) -> Manifest:
    try:
        fields = json.loads(_bytes_of(root / MANIFEST))
        fields["data_range"] = (fields["data_range"][0], fields["data_range"][1])
        return Manifest(**fields)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ArtifactError(f"{root / MANIFEST} cannot be read: {error}") from error


def _check_name(name: str) -> None:
    if Path(name).name != name or name in {"", ".", "..", MANIFEST}:
        raise ArtifactError(f"{name!r} is not a plain file name")
    if name.endswith(EXECUTABLE_WHEN_LOADED):
        raise ArtifactError(f"{name} could run code when loaded; use safetensors, text or ONNX")


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:  # in parts: vectors may be larger than what a process should hold
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _write_durably(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
