"""A platform of its own that may be hurt: PostgreSQL, two Valkeys, the ads role, ingest and publisher in one folder.

Started as `manage.py up` starts them, on ports of their own and watched by the same supervisor; what `up` would repair
(a dead server) stays broken until the test lifts the fault.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from adplatform.core import processes, supervisor
from adplatform.embedded import net
from tests.launcher.machine import ROOT, Machine

WANTED = ("ads", "ingest", "publisher")
EDIT_SECONDS = 3.0  # so often somebody edits something in the portal


@dataclass
class Platform:
    machine: Machine
    port: int
    environment: dict[str, str]
    slots: list[str] = field(default_factory=list)
    known_violations: set[str] = field(default_factory=set)  # that an earlier fault left

    # --- what an operator could do ------------------------------------------------------------------------------------

    def manage(self, *command: str) -> str:
        told = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert told.returncode == 0, f"{command}: {told.stdout[-2000:]} {told.stderr[-2000:]}"
        return told.stdout

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.machine.urls["DATABASE_URL"], connect_timeout=5)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def edit(self) -> None:
        """What an edit in the portal leaves: a row upon which a snapshot is built."""
        self.rows(
            "INSERT INTO core_outbox (topic, payload, created_at, attempts) VALUES ('snapshot', '{}', now(), 0)"
        )
        self.rows("SELECT pg_notify('outbox', 'snapshot')")

    def metrics(self) -> dict[str, float]:
        """Figures of the ads process by name and label; empty where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    @property
    def snapshots(self) -> Path:
        return self.machine.var / "snapshots"

    def current(self) -> Path:
        return self.snapshots / (self.snapshots / "current").read_text().strip()

    def champion(self) -> Path:
        """The folder of the serving blender's files."""
        ((folder,),) = self.rows(
            "SELECT folder FROM learning_modelversion WHERE stage = 'champion' AND kind = 'blender'"
        )
        return self.machine.var / "models" / str(folder)

    # --- its processes ------------------------------------------------------------------------------------------------

    def ads(self) -> int:
        return int((self.machine.var / "run" / "ads.pid").read_text())

    def ads_worker(self) -> int:
        """The process that answers: the child of granian's that is not multiprocessing's own."""
        children = psutil.Process(self.ads()).children()
        return max(children, key=lambda child: child.memory_info().rss).pid

    def postgres(self) -> list[int]:
        leader = psutil.Process(self.machine.postgres_pid())
        return [leader.pid, *(child.pid for child in leader.children(recursive=True))]

    def restart_servers(self) -> None:
        """What `up` does when a server died."""
        started = self.machine.launch("true")
        assert started.returncode == 0, started.stderr


@contextmanager
def running(machine: Machine) -> Iterator[Platform]:
    """Migrated, seeded, served and asked once; everything ends with the block."""
    with machine.up():
        port = net.free_port(set())
        given = processes.environment(
            machine.environment, machine.urls, port=net.free_port({port}), ads_port=port
        )
        given |= {"ADS_URL": f"http://localhost:{port}", "LOG_LEVEL": "WARNING"}
        platform = Platform(machine, port, given)
        platform.manage("manage.py", "migrate", "--verbosity", "0")
        platform.slots = json.loads(platform.manage("-m", "tests.chaos.seed").split("]")[0] + "]")
        specs = [spec for spec in processes.specs(port=port, ads_port=port) if spec.name in WANTED]
        supervised = supervisor.Supervisor(specs, machine.var, given)
        supervised.start()
        ended = threading.Event()
        watch = threading.Thread(target=_tend, args=(supervised, ended), daemon=True)
        watch.start()
        try:
            _wait_until_it_serves(platform)
            yield platform
        finally:
            ended.set()
            watch.join()
            supervised.stop()
            supervisor.end_leftovers(machine.var)


def _tend(supervised: supervisor.Supervisor, ended: threading.Event) -> None:
    while not ended.wait(0.25):
        supervised.tend()


def _wait_until_it_serves(platform: Platform) -> None:
    deadline = time.monotonic() + 90
    while platform.metrics().get("adplatform_snapshot_ads", 0) == 0:
        assert time.monotonic() < deadline, (platform.machine.var / "log" / "publisher.log").read_text()[
            -2000:
        ]
        time.sleep(0.2)


def send(number: int, *pids: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def freeze(*pids: int) -> None:
    send(signal.SIGSTOP, *pids)


def thaw(*pids: int) -> None:
    send(signal.SIGCONT, *pids)
