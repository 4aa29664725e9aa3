"""A real Celery worker for commands that need one, where none answers."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from django.conf import settings
from django.db import connection

from adplatform.celery import app
from adplatform.jobs.registry import JobError

START_SECONDS = 60.0
STOP_SECONDS = 30.0
_PING_SECONDS = 1.0


class WorkerDidNotStartError(JobError):
    """The worker ended, or did not answer in time; the message has the end of its log."""


@contextmanager
def running_worker(queues: Sequence[str] = ("default", "gpu")) -> Iterator[str]:
    """Until the block ends, some worker serves each of these queues; yields what serves them, in words.

    Workers that already answer are left alone. Otherwise one with a single child is started for the missing queues and
    stopped at the end, after the task it has in hand.
    """
    missing = [queue for queue in queues if queue not in served_queues()]
    if not missing:
        yield "workers that were already running"
        return
    name = f"command-{os.getpid()}-{secrets.token_hex(3)}@localhost"
    log_path = _log_path(name)
    process = _start(name, missing, log_path)
    try:
        _wait_until_it_answers(process, name, log_path)
        yield f"a worker of its own for {', '.join(missing)}"
    finally:
        _stop(process)
    log_path.unlink(missing_ok=True)


def served_queues() -> set[str]:
    """Queues that at least one answering worker consumes."""
    replies = app.control.inspect(timeout=_PING_SECONDS).active_queues() or {}
    return {queue["name"] for queues in replies.values() for queue in queues}


def _start(name: str, queues: Sequence[str], log_path: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "adplatform",
        "worker",
        "-Q",
        ",".join(queues),
        "-c",
        "1",
        "-n",
        name,
    ]
    command += ["--loglevel", "WARNING", "--without-mingle", "--without-gossip"]
    # One thread per child: PyTorch and LightGBM would otherwise fight over the same cores.
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    environment |= {
        "DATABASE_URL": _database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "EVENTS_URL": settings.EVENTS_URL,
    }
    with log_path.open("wb") as log:
        return subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _database_url() -> str:
    """The database that this process works on (a test's, say), whatever the environment names."""
    name = quote(str(connection.settings_dict["NAME"]), safe="")
    return urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))


def _wait_until_it_answers(process: subprocess.Popen[bytes], name: str, log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if app.control.ping(destination=[name], timeout=_PING_SECONDS):
            return
    tail = log_path.read_text(errors="replace")[-2_000:].strip()
    raise WorkerDidNotStartError(f"The Celery worker did not answer within {START_SECONDS:.0f} s.\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """A warm stop; after half a minute a cold one, then none."""
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _log_path(name: str) -> Path:
    folder = Path(settings.VAR) / "log"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"worker-{name.split('@', maxsplit=1)[0]}.log"
