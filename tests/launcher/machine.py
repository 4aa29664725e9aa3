"""A launcher of its own per test: a var/ folder, no services given, the real programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import redis

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("DATABASE_URL", "REDIS_URL", "EVENTS_URL")
HOLD = ("sh", "-c", "echo ready; read line")


class Machine:
    """Runs the launcher as other processes do, against one var/ folder."""

    def __init__(
        self, var: Path, *, python: str = sys.executable, root: Path = ROOT, **environment: str
    ) -> None:
        self.var = var
        self.python = python
        self.root = root
        kept = {name: value for name, value in os.environ.items() if name not in SERVICES}
        self.environment = kept | {"ADPLATFORM_VAR": str(var)} | environment

    def launch(self, *command: str, **popen: object) -> subprocess.CompletedProcess[str]:
        """`python -m adplatform.embedded COMMAND`."""
        return subprocess.run(
            [self.python, "-m", "adplatform.embedded", *command],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=90, check=False, **popen,
        )  # fmt: skip

    @contextmanager
    def up(self, **popen: object) -> Iterator[Machine]:
        """The servers run inside the block and stop after it."""
        holder = subprocess.Popen(
            [self.python, "-m", "adplatform.embedded", *HOLD],
            cwd=self.root, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **popen,
        )  # fmt: skip
        assert holder.stdin
        assert holder.stdout
        try:
            assert holder.stdout.readline() == "ready\n"
            yield self
        finally:
            holder.stdin.close()
            assert holder.wait(timeout=60) in (0, 1)
            holder.stdout.close()

    @property
    def urls(self) -> dict[str, str]:
        return json.loads((self.var / "run" / "services.json").read_text())

    @property
    def state(self) -> Path:
        return Path((self.var / "state-dir").read_text().strip())

    @property
    def sockets(self) -> Path:
        """Beside the data, or where its path would be too long for a socket."""
        record = self.var / "socket-dir"
        return Path(record.read_text().strip()) if record.exists() else self.state / "sockets"

    def postgres_pid(self) -> int:
        return int((self.state / "postgres" / "postmaster.pid").read_text().split("\n")[0])

    def valkey_pid(self, name: str) -> int:
        return int((self.state / name / "valkey.pid").read_text())

    def sql(self, statement: str, **connect: object) -> object:
        """The first value of the last statement's first row, if it gives one."""
        connection = psycopg2.connect(self.urls["DATABASE_URL"], **connect)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchone()[0] if cursor.description else None
        finally:
            connection.close()

    def valkey(self, name: str) -> redis.Redis:
        return redis.Redis.from_url(self.urls[name], decode_responses=True)
