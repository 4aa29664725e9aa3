"""The local PostgreSQL: a cluster with data checksums, trust on its 0700 socket folder, passwords on loopback TCP."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from adplatform.embedded import net
from adplatform.embedded.places import LaunchError, Places, secret, write_private

DATABASE = ROLE = "adplatform"
# No process has this id: Linux stops at 4,194,304, macOS at 99,999.
NO_PROCESS = 2_147_483_647
START_SECONDS = 60
STOP_SECONDS = 30
# Written anew at each start, so that an upgrade of the platform reaches clusters that exist already.
SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 80
shared_buffers = '128MB'
max_wal_size = '1GB'
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
"""


class Postgres:
    """One cluster under ``state/postgres``."""

    def __init__(self, places: Places, port: int) -> None:
        self.places = places
        self.port = port
        self.data = places.state / "postgres"
        self.log = places.state / "postgres.log"

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}:{secret('postgres')}@127.0.0.1:{self.port}/{DATABASE}"

    def running(self) -> bool:
        """Whether the recorded process is the server of our cluster; a busy one that answers late still is."""
        lines = _pid_file_lines(self.data)
        return bool(lines) and str(self.data) in net.command_of(int(lines[0]))

    def start(self) -> None:
        """Make the cluster if there is none, start it, make sure that our role and database exist."""
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._check_version()
        settings = SETTINGS.format(port=self.port, sockets=self.places.sockets)
        write_private(self.data / "adplatform.conf", settings, self.places.owner)
        deadline = time.monotonic() + START_SECONDS
        # After kill -9 the orphaned backends hold the old shared memory for a moment.
        while (failure := self._try_start()) and "shared memory" in failure and time.monotonic() < deadline:
            time.sleep(0.3)
        if failure:
            raise LaunchError(f"PostgreSQL did not start: {failure} (log: {self.log})")
        self._create_role_and_database()

    def stop(self) -> None:
        """End connections, write a checkpoint, exit: what `pg_ctl stop -m fast` asks for, without its programs."""
        lines = _pid_file_lines(self.data)
        if lines:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(lines[0]), signal.SIGINT)
        if not net.wait_for(lambda: not _pid_file_lines(self.data), STOP_SECONDS):
            raise LaunchError(f"PostgreSQL did not stop within {STOP_SECONDS} s (log: {self.log})")

    def _try_start(self) -> str:
        """Start and wait until connections are accepted; the reason when that failed, else an empty text."""
        for lock in (self.data / "postmaster.pid", self.places.sockets / f".s.PGSQL.{self.port}.lock"):
            _forget_pid(lock, self.data)
        net.rotate(self.log)
        offset = self.log.stat().st_size if self.log.exists() else 0
        started = self._run(
            "pg_ctl", "start", "-D", str(self.data), "-w", "-t", str(START_SECONDS), "-s", "-l", str(self.log)
        )
        if started.returncode == 0:
            return ""
        with contextlib.suppress(FileNotFoundError), self.log.open(errors="replace") as log:
            log.seek(offset)
            reasons = [line for line in log if "FATAL" in line or "HINT" in line]
            return (
                " ".join(line.split("] ", 1)[-1].strip() for line in reasons[-2:]) or started.stderr.strip()
            )
        return started.stderr.strip()

    def _initdb(self) -> None:
        """Make the cluster beside its place and move it there, so that an interrupted start leaves no half of one."""
        fresh = self.places.state / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self.places.state / "initdb-password"
        write_private(password_file, secret("postgres"), self.places.owner)
        provider = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if self._major() >= 17 else ()
        try:
            made = self._run(
                "initdb", "-D", str(fresh), "-U", "postgres", "-k", "-E", "UTF8", "--locale=C.UTF-8", *provider,
                "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password_file}",
            )  # fmt: skip
        finally:
            password_file.unlink()
        if made.returncode:
            raise LaunchError(f"initdb failed: {' '.join(made.stderr.split())}")
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write("include_if_exists = 'adplatform.conf'\n")
        os.replace(fresh, self.data)

    def _major(self) -> int:
        version = self._run("postgres", "--version")
        found = re.search(r"(\d+)", version.stdout)
        if version.returncode or not found:
            raise LaunchError(f"{self.places.postgres_bin}/postgres does not run: {version.stderr.strip()}")
        return int(found[1])

    def _check_version(self) -> None:
        made_by = int((self.data / "PG_VERSION").read_text())
        if made_by != self._major():
            raise LaunchError(
                f"the cluster in {self.data} was made by PostgreSQL {made_by}, the server programs are {self._major()}: "
                f"dump it with {made_by} and load it into a new one, or point ADPLATFORM_SERVER_BIN at {made_by}"
            )

    def _create_role_and_database(self) -> None:
        """Our login is no superuser, so that row-level security and revoked grants hold for it too."""
        import psycopg2
        from psycopg2 import sql

        password = secret("postgres")
        connection = psycopg2.connect(
            host=str(self.places.sockets), port=self.port, user="postgres", dbname="postgres"
        )
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(ROLE)))
            cursor.execute(
                sql.SQL("ALTER ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD %s").format(sql.Identifier(ROLE)),
                [password],
            )
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if not cursor.fetchone():
                cursor.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(ROLE)
                    )
                )

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a server program as the owner, in a session of its own so that Ctrl-C here does not reach it."""
        # Output goes to files: a server that inherits a pipe would keep it open for ever.
        with net.captured() as (out, err):
            done = subprocess.run(
                [str(self.places.postgres_bin / program), *arguments],
                cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False, start_new_session=True,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}, **self.places.owner.run_as(),
            )  # fmt: skip
            return subprocess.CompletedProcess(done.args, done.returncode, net.text_of(out), net.text_of(err))


def _pid_file_lines(data: Path) -> list[str]:
    """Lines of postmaster.pid: process id, data folder, start time, port, ..."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except OSError:
        return []


def _forget_pid(lock: Path, data: Path) -> None:
    """Make a lock file name nobody when its process is not the server of this data folder.

    After kill -9 another program may have got the recorded id, or a dead server waits to be reaped under it:
    PostgreSQL would take either for a running server and refuse. Only the id is replaced: by the rest of
    postmaster.pid PostgreSQL checks that no old backend is still at work.
    """
    try:
        pid, rest = lock.read_text().split("\n", 1)
    except (OSError, ValueError):
        return
    if pid.strip().isdigit() and str(data) not in net.command_of(int(pid)):
        with lock.open("r+") as file:
            file.write(f"{NO_PROCESS}\n{rest}")
            file.truncate()
