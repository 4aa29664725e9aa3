"""The faults: what is done to the platform, and how it is lifted. Each is a context that the readers live through."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ml.ctr.runtime import TREES
from tests.chaos.platform import Platform, freeze, send, thaw
from tests.learning import test_trial as damage

Fault = Callable[[Platform], AbstractContextManager[None]]


@contextmanager
def hot_killed(platform: Platform) -> Iterator[None]:
    send(signal.SIGKILL, platform.machine.valkey_pid("valkey-hot"))
    yield
    platform.restart_servers()


@contextmanager
def events_killed(platform: Platform) -> Iterator[None]:
    send(signal.SIGKILL, platform.machine.valkey_pid("valkey-events"))
    yield
    platform.restart_servers()


@contextmanager
def postgres_stopped(platform: Platform) -> Iterator[None]:
    send(signal.SIGINT, platform.machine.postgres_pid())
    yield
    platform.restart_servers()


@contextmanager
def hot_frozen(platform: Platform) -> Iterator[None]:
    with _frozen(platform.machine.valkey_pid("valkey-hot")):
        yield


@contextmanager
def events_frozen(platform: Platform) -> Iterator[None]:
    with _frozen(platform.machine.valkey_pid("valkey-events")):
        yield


@contextmanager
def postgres_frozen(platform: Platform) -> Iterator[None]:
    with _frozen(*platform.postgres()):
        yield


@contextmanager
def _frozen(*pids: int) -> Iterator[None]:
    freeze(*pids)
    try:
        yield
    finally:
        thaw(*pids)


@contextmanager
def ads_worker_killed(platform: Platform) -> Iterator[None]:
    """granian starts another; who connects meanwhile waits in the listening socket's queue."""
    send(signal.SIGKILL, platform.ads_worker())
    yield


@contextmanager
def ads_killed(platform: Platform) -> Iterator[None]:
    """All of it: the supervisor starts it anew."""
    os.killpg(platform.ads(), signal.SIGKILL)
    yield


@contextmanager
def model_missing(platform: Platform) -> Iterator[None]:
    with _damaged(platform, lambda folder: (folder / TREES).unlink(), seal=False):
        yield


@contextmanager
def model_truncated(platform: Platform) -> Iterator[None]:
    """With a manifest that names the halves: what a hash cannot find."""
    with _damaged(platform, damage.truncated):
        yield


@contextmanager
def model_nan(platform: Platform) -> Iterator[None]:
    with _damaged(platform, damage.nan_leaf):
        yield


@contextmanager
def model_slow(platform: Platform) -> Iterator[None]:
    with _damaged(platform, damage.slow):
        yield


@contextmanager
def _damaged(platform: Platform, harm: Callable[[Path], None], *, seal: bool = True) -> Iterator[None]:
    folder = platform.champion()
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.copytree(folder, kept)
    harm(folder)
    if seal:
        damage.sealed(folder)
    platform.edit()
    try:
        yield
    finally:
        shutil.rmtree(folder)
        kept.rename(folder)
        platform.edit()


@contextmanager
def snapshot_half_written(platform: Platform) -> Iterator[None]:
    """A folder without half of its files is named current, and the ads process starts anew upon it."""
    whole = platform.current()
    half = whole.with_name(f"{whole.name}x")
    shutil.copytree(whole, half)
    content = (half / "contents.msgpack").read_bytes()
    (half / "contents.msgpack").write_bytes(content[: len(content) // 2])
    (platform.snapshots / "current").write_text(half.name)
    send(signal.SIGKILL, platform.ads_worker())
    yield
    platform.edit()


@contextmanager
def disk_full(platform: Platform) -> Iterator[None]:
    """Nothing takes an event: the events Valkey is dead, and no file may grow beyond what it has."""
    worker = platform.ads_worker()
    send(signal.SIGKILL, platform.machine.valkey_pid("valkey-events"))
    unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
        platform.restart_servers()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        hot_killed,
        hot_frozen,
        events_killed,
        events_frozen,
        postgres_stopped,
        postgres_frozen,
        ads_worker_killed,
        ads_killed,
        model_missing,
        model_truncated,
        model_nan,
        model_slow,
        snapshot_half_written,
        disk_full,
    )
}
