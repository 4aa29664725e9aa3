"""Keep a set of child processes running: start, log, restart with back-off, stop in order.

Knows nothing of what the children do. Each child leads a process group of its own, writes var/log/NAME.log and
leaves its process id in var/run/NAME.pid. When the supervisor itself is killed, Linux ends the children; elsewhere
the next start does, which finds them by a mark in their environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

MARK = "ADPLATFORM_SUPERVISED"
LOG_BYTES = 10_000_000
MOST_FILES = 16_384
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
# A child that ran this long had started well: its next restart is quick again.
SETTLED_SECONDS = 60.0
# From Linux's prctl.h; loaded here, since a child between fork and exec must not load anything.
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Spec:
    """What to run; ``stage`` orders the stop: lower numbers end first."""

    name: str
    command: tuple[str, ...]
    stage: int
    stop_seconds: float


@dataclass
class Child:
    """One running (or waiting to be restarted) process of a spec."""

    spec: Spec
    folder: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    restart_at: float = 0.0
    restarts: int = field(default=0)

    @property
    def log_path(self) -> Path:
        return self.folder / "log" / f"{self.spec.name}.log"

    @property
    def pid_path(self) -> Path:
        return self.folder / "run" / f"{self.spec.name}.pid"

    def start(self) -> None:
        """Start it with its output appended to its log."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.pid_path.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log_path)
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(
                self.spec.command, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_end_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        self.started = time.monotonic()
        self.pid_path.write_text(f"{self.process.pid}\n")

    def tend(self, now: float) -> None:
        """Notice a death, and start again when the pause is over."""
        if self.process is not None and self.process.poll() is not None:
            self._bury(now)
        if self.process is None and now >= self.restart_at:
            self.restarts += 1
            self.start()

    def _bury(self, now: float) -> None:
        assert self.process is not None
        self.signal(signal.SIGKILL)  # what is left of its group would hold ports and tasks
        if now - self.started >= SETTLED_SECONDS:
            self.pause_seconds = FIRST_PAUSE_SECONDS
        log.warning(
            "%s ended with status %s: restart in %.0f s (see %s)",
            self.spec.name, self.process.returncode, self.pause_seconds, self.log_path,
        )  # fmt: skip
        self.restart_at = now + self.pause_seconds
        self.pause_seconds = min(self.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        self.process = None
        self.pid_path.unlink(missing_ok=True)

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group; one that is gone is fine."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def terminate(self) -> None:
        """Ask the leader to end; it knows how to end its own children."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)


def _end_with_parent() -> None:
    """Runs in the child before its program: the kernel ends it when the supervisor is killed."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """All children of one platform."""

    def __init__(self, specs: Iterable[Spec], folder: Path, environment: Mapping[str, str]) -> None:
        marked = {**environment, MARK: str(folder)}
        self.children = [Child(spec, folder, marked) for spec in specs]

    def start(self) -> None:
        _allow_many_files()
        for child in self.children:
            child.start()

    def tend(self) -> None:
        """One look at every child; call it a few times a second."""
        now = time.monotonic()
        for child in self.children:
            child.tend(now)

    def stop(self) -> None:
        """End the stages one after the other; whoever overruns its time is killed."""
        for stage in sorted({child.spec.stage for child in self.children}):
            _end([child for child in self.children if child.spec.stage == stage])


def _allow_many_files() -> None:
    """Children inherit it: a connection is a file, and a shell's usual 1,024 are soon idle connections alone."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _end(children: list[Child]) -> None:
    started = time.monotonic()
    for child in children:
        child.terminate()
    for child in children:
        if child.process is not None:
            left = max(0.0, started + child.spec.stop_seconds - time.monotonic())
            try:
                child.process.wait(timeout=left)
            except subprocess.TimeoutExpired:
                log.warning(
                    "%s did not end within %.0f s and is killed", child.spec.name, child.spec.stop_seconds
                )
            child.signal(signal.SIGKILL)
            child.process.wait()
        child.pid_path.unlink(missing_ok=True)


def end_leftovers(folder: Path) -> list[int]:
    """Kill processes that a killed supervisor of this folder left behind; their ids."""
    found = [process for process in psutil.process_iter() if _mark_of(process) == str(folder)]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=2)
    return [process.pid for process in found]


def _mark_of(process: psutil.Process) -> str | None:
    if process.pid == os.getpid():
        return None
    try:
        mark: str | None = process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None
    return mark


def _rotate(path: Path) -> None:
    """Keep one older generation of a log that has grown large."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        os.replace(path, path.with_name(f"{path.name}.1"))
