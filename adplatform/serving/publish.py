"""Building a snapshot: what may serve now, read in one consistent view, written beside the others, then named.

A worker's side: never imported by a web process. The folder is complete and renamed into place before `current`
names it, so that a reader sees a whole snapshot or none; the newest `KEPT` stay.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import redis
from django.conf import settings
from django.db import connection, transaction

from adplatform.campaigns import budgets
from adplatform.events.stream import connect
from adplatform.inventory.models import Site
from adplatform.learning.publish import CreativeText, SiteText, site_text, write_models

from . import columns, granting, live
from .snapshot import CONTENTS, CURRENT, FORMAT, MANIFEST, MODELS, CandidateRow, Contents, Manifest, sha256

KEPT = 3
_LOCK = 4101  # one build at a time


def publish(*, at: datetime, folder: Path | None = None, hot: redis.Redis | None = None) -> Contents:
    """Build the snapshot of this moment and make it the current one."""
    root = Path(folder or settings.SNAPSHOT_DIR)
    root.mkdir(parents=True, exist_ok=True)
    with _one_builder():
        budgets.sync(at=at)
        granting.renew(at=at, hot=hot)  # first, so that an ad can be paid for from the moment it is seen
        contents, rows, creatives, sites = _read(at)
        last, building = _last(root), root / f".{contents.version}"
        building.mkdir()
        try:
            contents.versions |= write_models(
                building / MODELS, creatives=creatives, sites=sites, last=last / MODELS if last else None
            )
            columns.write(building, rows)
            _write(building, contents, last)
            building.rename(root / contents.version)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        _name(root, contents.version)
        _sweep(root)
    _announce(contents.version, hot)
    return contents


def preview(*, at: datetime) -> Contents:
    """What `publish` would hold, without writing anything."""
    return _read(at)[0]


@contextmanager
def _one_builder() -> Iterator[None]:
    """Builders queue up; the lock goes with the connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _read(at: datetime) -> tuple[Contents, list[CandidateRow], list[CreativeText], list[SiteText]]:
    with _consistent_view():
        rows = live.candidates(at)
        rights = live.rights(rows)
        contents = Contents(
            format=FORMAT,
            version=f"{at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
            built_at=at,
            slots=live.slots(rights),
            ads=len(rows),
            keys=live.keys(at),
            landings=live.long_landings(),
            versions={},
            rules=live.rules(at, rows),
            house_ads=rights.house_ads(),
        )
        texts = live.texts(rows)
        creatives = [CreativeText(pk, text, language) for pk, text, language in texts]
        sites = [SiteText(site.pk, site_text(site)) for site in Site.objects.filter(is_active=True)]
    return contents, rows, creatives, sites


@contextmanager
def _consistent_view() -> Iterator[None]:
    """One moment of the database over several queries."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _write(folder: Path, contents: Contents, last: Path | None) -> None:
    (folder / CONTENTS).write_bytes(msgspec.msgpack.encode(contents))
    before = _files_of(last)
    files: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder))
            files[name] = sha256(path)
            if last is None or before.get(name) != files[name] or not _linked(path, last / name, files[name]):
                _sync(path)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(Manifest(files)))
    for path in (folder / MANIFEST, *(one for one in folder.rglob("*") if one.is_dir()), folder):
        _sync(path)


def _linked(path: Path, same: Path, digest: str) -> bool:
    """Put the last snapshot's file in place of an equal one, if it is still whole: processes then need not read it
    again, and the disk holds it once."""
    try:
        if same.samefile(path):
            return True
        if sha256(same) != digest:
            return False
        waiting = path.with_name(f".{path.name}")
        os.link(same, waiting)
        waiting.replace(path)
    except OSError:
        return False
    return True


def _files_of(folder: Path | None) -> Mapping[str, str]:
    """The hashes in a snapshot's manifest; none where it cannot be read."""
    try:
        if folder is None:
            return {}
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest).files
    except (OSError, msgspec.DecodeError):
        return {}


def _name(root: Path, version: str) -> None:
    """Swap `current` in one step."""
    waiting = root / f".{CURRENT}-{version}"
    waiting.write_text(version)
    _sync(waiting)
    waiting.replace(root / CURRENT)
    _sync(root)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(root: Path) -> None:
    """Remove all but the newest snapshots, and what a killed builder left."""
    versions = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    current = (root / CURRENT).read_text()
    for path in versions[:-KEPT]:
        if path.name != current:
            shutil.rmtree(path, ignore_errors=True)
    for path in root.glob(".2*"):
        shutil.rmtree(path, ignore_errors=True)


def _last(root: Path) -> Path | None:
    """The snapshot that serves now."""
    try:
        return root / (root / CURRENT).read_text().strip()
    except OSError:
        return None


def _announce(version: str, hot: redis.Redis | None) -> None:
    """Tell Valkey too, for other machines and for people; the file is what counts."""
    try:
        (hot or connect(settings.REDIS_URL, timeout_seconds=1.0)).set("snapshot:current", version)
    except (redis.RedisError, OSError):
        return
