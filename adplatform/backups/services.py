"""Making a backup while the platform serves, and making a platform of it again.

Each is a sequence of steps that says what it did as it goes. The hot Valkey is in no backup: what it holds follows from
the facts, and is computed from them anew.
"""

from __future__ import annotations

import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from adplatform.billing import anchors
from adplatform.billing.reconciliation import reconcile
from adplatform.billing.verification import verify
from adplatform.core import encrypted, roles
from adplatform.core.sealing import key_id
from adplatform.embedded import preflight
from adplatform.embedded.places import LaunchError
from adplatform.events import ingest
from adplatform.events.stream import connect
from adplatform.learning import live
from adplatform.privacy import log, retention
from adplatform.serving import cap_history, pipeline, publish

from . import archive, database, waiting
from .archive import BackupError, Manifest

Say = Callable[[str, float], None]  # what was done, and in how many seconds


@dataclass(frozen=True, slots=True)
class Restored:
    """What the verifiers say about a restored platform: sentences, none where all is sound."""

    head: str
    postings: int
    violations: tuple[str, ...]


@dataclass(slots=True)
class _Steps:
    say: Say

    @contextmanager
    def step(self, words: Callable[[], str]) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.say(words(), time.perf_counter() - began)


# --- making one -------------------------------------------------------------------------------------------------------


def backup(folder: Path, *, at: datetime, say: Say, with_models: bool = True) -> Manifest:
    """Everything that cannot be computed again, in a new folder. Secrets, anchors and the log of erasures are not in it:
    they must lie where it does not."""
    building = archive.begin(folder)
    try:
        return _fill(building, folder, at=at, steps=_Steps(say), with_models=with_models)
    except BaseException:
        shutil.rmtree(building)
        raise


def _fill(building: Path, folder: Path, *, at: datetime, steps: _Steps, with_models: bool) -> Manifest:
    count = 0
    erasures = _lines(log.path())
    with steps.step(lambda: f"{count:,} events that wait to be stored"):
        count = waiting.save(_events(), building / archive.WAITING)
    with steps.step(lambda: f"the database, {_size(building / archive.DUMP)}"):
        database.dump(building / archive.DUMP)
    if with_models and settings.MODELS_DIR.is_dir():
        with steps.step(lambda: f"the models, {_size(building / archive.MODELS)}"):
            _pack_models(building / archive.MODELS)
    manifest = Manifest(
        made_at=at,
        database=_name(),
        server=database.server_version(),
        erasures=erasures,
        encryption_keys=sorted(encrypted.keys_in_use()),
        files=archive.hashes(building),
    )
    archive.finish(building, folder, manifest)
    return manifest


def _pack_models(path: Path) -> None:
    """Uncompressed: floats do not shrink."""
    with tarfile.open(path, "w") as tar:
        for folder in sorted(settings.MODELS_DIR.iterdir()):
            tar.add(folder, arcname=folder.name)


# --- restoring one ----------------------------------------------------------------------------------------------------


def restore(folder: Path, *, at: datetime, say: Say, replace: bool = False, jobs: int = 1) -> Restored:
    """Make the servers of DATABASE_URL, REDIS_URL and EVENTS_URL a platform as it was, less who was erased since.

    Everything that can be refused is refused before anything is changed. One that was interrupted is run again with `replace`.
    """
    manifest = archive.opened(folder)
    events, hot = _events(), live.connect()
    _refuse_what_cannot_be(manifest, events, hot)
    steps = _Steps(say)
    database.make_empty(replace=replace)
    with steps.step(lambda: "the database"):
        roles.apply()  # policies name them
        database.restore(folder / archive.DUMP, jobs=jobs)
        call_command("migrate", verbosity=0)
        roles.apply()
        database.analyze()
    _adopt(manifest)
    _unpack_models(folder / archive.MODELS)
    hot.flushdb()
    cleared = 0
    with steps.step(lambda: f"{cleared:,} rows that are too old or of somebody erased since, forgotten"):
        cleared = sum(found.rows for found in retention.enforce(at=at))
    carried = 0
    with steps.step(lambda: f"{carried:,} events that waited, stored"):
        waiting.load(events, folder / archive.WAITING)
        ingest.prepare(events)
        carried = pipeline.drain_all(events, None, at=at)
    rebuilt: dict[str, int] = {}
    with steps.step(
        lambda: "counters of {impressions:,} impressions and {visitors:,} visitors".format(**rebuilt)
    ):
        rebuilt = rebuild_hot(hot, at=at)
    with steps.step(lambda: "a snapshot to serve from"):
        publish.publish(at=at)
    return _verified(at, steps)


def rebuild_hot(hot: redis.Redis, *, at: datetime) -> dict[str, int]:
    """Everything in the hot Valkey that follows from facts: counters, profiles, what is hidden, frequency caps. Leases,
    the snapshot's name and work that waits come back by themselves."""
    counts = live.rebuild(hot, at)
    live.note_until(hot, at)
    return counts | {"caps": cap_history.rebuild(hot, at=at)}


def _refuse_what_cannot_be(manifest: Manifest, events: redis.Redis, hot: redis.Redis) -> None:
    try:
        preflight.check_alone()
    except LaunchError as error:
        raise BackupError(str(error)) from error
    for name, client in (("EVENTS_URL", events), ("REDIS_URL", hot)):
        try:
            client.ping()
        except (redis.RedisError, OSError) as error:
            raise BackupError(f"the Valkey of {name} does not answer: {error}") from error
    missing = set(manifest.encryption_keys) - {key_id(key) for key in settings.ENCRYPTION_KEYS}
    if missing:
        raise BackupError(
            f"sealed with keys that are not among ENCRYPTION_KEYS: {', '.join(sorted(missing))}. Add them behind the first"
        )
    known = max(_lines(log.path()), _lines(log.path(manifest.database)))
    if known < manifest.erasures:
        raise BackupError(
            f"the log of erasures has {known} lines, {manifest.erasures} when the backup was made: put it back as"
            f" {log.path(manifest.database)}, or who was erased since would return"
        )


def _adopt(manifest: Manifest) -> None:
    """Anchors and the log of erasures are named after the database: one of another name goes on with them."""
    if manifest.database == _name():
        return
    log.adopt(manifest.database)
    theirs, ours = anchors.folder(manifest.database), anchors.folder()
    if theirs.is_dir() and not ours.exists():
        shutil.copytree(theirs, ours)


def _unpack_models(path: Path) -> None:
    if path.exists():
        settings.MODELS_DIR.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path) as tar:
            tar.extractall(settings.MODELS_DIR, filter="data")


def _verified(at: datetime, steps: _Steps) -> Restored:
    with steps.step(lambda: "books, sums, erasures and sealed values examined"):
        books, sums = verify(), reconcile()
        violations = [f"{one.rule}: {one.subject}: {one.words}" for one in books.violations + sums.violations]
        violations += [f"{one.rows:,} {one.words}" for one in retention.overdue(at=at)]
        violations += [
            f"{count:,} values of {field.model._meta.db_table}.{field.column} cannot be opened"
            for field in encrypted.fields()
            if (count := encrypted.count_unreadable(field))
        ]
    return Restored(books.head, books.postings, tuple(violations))


# --- both -------------------------------------------------------------------------------------------------------------


def _events() -> redis.Redis:
    return connect(settings.EVENTS_URL, timeout_seconds=10.0)


def _name() -> str:
    return str(connection.settings_dict["NAME"])


def _lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.1f} MB"
