"""A backup as a folder: what lies in it, and how it is known to be whole.

manifest.json   what it was made of, and the SHA-256 of every other file; written last
platform.dump   PostgreSQL at one moment (pg_dump -Fc), without the sessions of people
waiting.jsonl   events that were acknowledged and stood in no table yet, and those that could not be stored
models.tar      MODELS_DIR: what the champions in the database are made of
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path

import msgspec

MANIFEST, DUMP, WAITING, MODELS = "manifest.json", "platform.dump", "waiting.jsonl", "models.tar"


class BackupError(Exception):
    """Why a backup cannot be made or restored, in a sentence that says what to do."""


class Manifest(msgspec.Struct, frozen=True):
    """`database` is its name then: anchors and the log of erasures are named after it. `erasures`: lines that the log held.
    `encryption_keys`: ids (core.sealing) of the keys that sealed what lies in it."""

    made_at: datetime
    database: str
    server: int
    erasures: int
    encryption_keys: list[str]
    files: dict[str, str]


def begin(folder: Path) -> Path:
    """Where a backup is built until it is complete; readable for us alone."""
    if folder.exists():
        raise BackupError(f"{folder} exists already: name a new folder")
    building = folder.with_name(f".{folder.name}.part")
    if building.exists():
        raise BackupError(f"{building} was left by a backup that did not end: remove it")
    building.mkdir(parents=True, mode=0o700)
    return building


def finish(building: Path, folder: Path, manifest: Manifest) -> None:
    """Write the manifest and give the folder its name: a folder of that name is complete."""
    (building / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    for path in (*building.iterdir(), building):
        _sync(path)
    building.rename(folder)
    _sync(folder.parent)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest."""
    return {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def opened(folder: Path) -> Manifest:
    """The manifest of a backup whose files are all as they were written."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(f"{folder} holds no backup: {error}") from error
    found = hashes(folder)
    for name, digest in manifest.files.items():
        if found.get(name) != digest:
            raise BackupError(f"{folder / name} is not as it was written: restore another backup")
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
