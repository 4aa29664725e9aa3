"""PostgreSQL's own programs of the server's version, called on our database; and an empty database to restore into."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.db import OperationalError, connection
from django.db.backends.postgresql.client import DatabaseClient

from adplatform.embedded import places

from .archive import BackupError

# Whoever holds a session's key is signed in: after a restore people sign in anew.
LEFT_OUT = ("django_session",)


def dump(path: Path) -> None:
    """One consistent moment, while everything runs; our login sees every row."""
    left_out = [f"--exclude-table-data={table}" for table in LEFT_OUT]
    _run("pg_dump", "--format=custom", "--enable-row-security", f"--file={path}", *left_out)


def restore(path: Path, *, jobs: int) -> None:
    """Into the database of DATABASE_URL, which is empty but for its roles."""
    _run("pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", f"--jobs={jobs}", str(path))


def make_empty(*, replace: bool) -> None:
    """See that the database exists and holds no table. `replace`: drop it where it does."""
    name = str(connection.settings_dict["NAME"])
    if not _exists(name):
        _on_server(f"CREATE DATABASE {connection.ops.quote_name(name)}")
        return
    others, tables = _users(name), bool(connection.introspection.table_names())
    connection.close()
    if others:
        raise BackupError(f"{others} connections use the database {name}: stop the platform first")
    if not tables:
        return
    if not replace:
        raise BackupError(
            f"the database {name} is not empty: name another in DATABASE_URL, or say --replace to lose it"
        )
    _on_server(f"DROP DATABASE {connection.ops.quote_name(name)}")
    _on_server(f"CREATE DATABASE {connection.ops.quote_name(name)}")


def server_version() -> int:
    """As PostgreSQL counts: 180000 is 18.0."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        return int(cursor.fetchone()[0])


def analyze() -> None:
    """A restored database has no statistics: without them the planner guesses."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _exists(name: str) -> bool:
    try:
        with connection._nodb_cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            return cursor.fetchone() is not None
    except OperationalError as error:
        raise BackupError(f"PostgreSQL does not answer: {error}") from error


def _users(name: str) -> int:
    with connection._nodb_cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> ALL(%s)",
            [name, [connection.connection.info.backend_pid] if connection.connection else []],
        )
        return int(cursor.fetchone()[0])


def _on_server(statement: str) -> None:
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement)


def _run(name: str, *arguments: str) -> None:
    """The password goes by the environment: others may see arguments."""
    program = _program(name)
    command, secrets = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    connection.close()
    *where, database = command[1:]
    done = subprocess.run(
        [program, *where, "-d", database, *arguments],
        env=os.environ | (secrets or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BackupError(f"{name} failed: {' '.join(done.stderr.split())[-600:]}")


def _program(name: str) -> str:
    version = server_version() // 10_000
    for folder in _folders(version):
        if (folder / name).exists() and _major(folder / name) == version:
            return str(folder / name)
    raise BackupError(
        f"no {name} of PostgreSQL {version} is here: install postgresql-client-{version}, or name its folder in"
        " ADPLATFORM_SERVER_BIN"
    )


def _folders(version: int) -> Iterator[Path]:
    """What was chosen or came with the wheel, what the shell finds, where Debian keeps several versions."""
    with suppress(places.LaunchError):  # the wheel is not installed
        yield places.postgres_programs()
    if found := shutil.which("pg_dump"):
        yield Path(found).parent
    yield Path(f"/usr/lib/postgresql/{version}/bin")


def _major(program: Path) -> int:
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", shown)
    return int(found[0]) if found else 0
