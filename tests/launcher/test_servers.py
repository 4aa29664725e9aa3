"""The embedded servers start, stop, are shared, survive kill -9 and step aside for given URLs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import time
from urllib.parse import urlsplit

import psycopg2
import pytest
import redis

from tests.launcher.machine import Machine


def test_data_survives_a_restart(machine: Machine) -> None:
    with machine.up():
        before = machine.urls
        machine.sql("CREATE TABLE kept AS SELECT 42 AS value")
        machine.valkey("REDIS_URL").set("kept", "hot")
        machine.valkey("EVENTS_URL").xadd("kept", {"kind": "click"})
    with machine.up():
        assert machine.urls == before
        assert machine.sql("SELECT value FROM kept") == 42
        assert machine.valkey("REDIS_URL").get("kept") == "hot"
        assert machine.valkey("EVENTS_URL").xlen("kept") == 1


def test_servers_are_set_up_to_lose_nothing(machine: Machine) -> None:
    with machine.up():
        shown = {
            name: machine.sql(f"SHOW {name}")
            for name in ("data_checksums", "fsync", "full_page_writes", "password_encryption")
        }
        assert shown == {
            "data_checksums": "on",
            "fsync": "on",
            "full_page_writes": "on",
            "password_encryption": "scram-sha-256",
        }
        assert (
            machine.sql(
                "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = current_database()"
            )
            == "b C.UTF-8"
        )
        for name, fsync in (("REDIS_URL", "everysec"), ("EVENTS_URL", "always")):
            kept = machine.valkey(name).config_get("appendonly", "appendfsync", "maxmemory-policy")
            assert kept == {"appendonly": "yes", "appendfsync": fsync, "maxmemory-policy": "noeviction"}


def test_our_login_is_no_superuser(machine: Machine) -> None:
    with machine.up():
        assert (
            machine.sql(
                "SELECT rolsuper OR rolbypassrls OR rolreplication FROM pg_roles WHERE rolname = current_user"
            )
            is False
        )


def test_strangers_are_kept_out(machine: Machine) -> None:
    with machine.up():
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            machine.sql("SELECT 1", password="wrong")
        hot = urlsplit(machine.urls["REDIS_URL"])
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=hot.port).ping()
        sockets = machine.sockets
        private = [
            sockets,
            machine.state,
            machine.state / "postgres",
            *(machine.var / "secrets").iterdir(),
            machine.var / "run" / "services.json",
        ]
        assert [str(path) for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_the_last_user_stops_the_servers(machine: Machine) -> None:
    with machine.up():
        with machine.up():
            pid = machine.postgres_pid()
        assert machine.sql("SELECT 1") == 1, "the first user still needs them"
        assert machine.postgres_pid() == pid
    assert not (machine.state / "postgres" / "postmaster.pid").exists()
    assert not (machine.state / "valkey-hot" / "valkey.pid").exists()


def test_stop_leaves_servers_that_are_in_use(machine: Machine) -> None:
    with machine.up():
        refused = machine.launch("stop")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.count("\n") == 1
        assert "still uses the servers" in refused.stderr
        assert machine.sql("SELECT 1") == 1


def test_servers_come_back_after_kill_9(machine: Machine) -> None:
    with machine.up():
        machine.sql("CREATE TABLE survived AS SELECT 7 AS value")
        machine.valkey("EVENTS_URL").set("survived", "yes")
        for pid in (
            machine.postgres_pid(),
            machine.valkey_pid("valkey-hot"),
            machine.valkey_pid("valkey-events"),
        ):
            os.kill(pid, signal.SIGKILL)
        with machine.up():
            assert machine.sql("SELECT value FROM survived") == 7
            assert machine.valkey("EVENTS_URL").get("survived") == "yes"


def test_a_recorded_process_id_that_now_belongs_to_another_program_is_ignored(machine: Machine) -> None:
    with machine.up():
        pid_file = machine.state / "postgres" / "postmaster.pid"
        rest = pid_file.read_text().split("\n", 1)[1]
        os.kill(machine.postgres_pid(), signal.SIGKILL)
        _wait_until_gone(urlsplit(machine.urls["DATABASE_URL"]).port)
        pid_file.write_text(f"{os.getpid()}\n{rest}")
        with machine.up():
            assert machine.sql("SELECT 1") == 1


def test_a_stranger_on_a_recorded_port_is_left_alone(machine: Machine) -> None:
    with machine.up():
        port = urlsplit(machine.urls["REDIS_URL"]).port
    with socket.create_server(("127.0.0.1", port or 0)), machine.up():
        assert urlsplit(machine.urls["REDIS_URL"]).port != port
        assert machine.valkey("REDIS_URL").ping()


def test_given_urls_replace_servers_one_by_one(fresh: Machine) -> None:
    fresh.environment["REDIS_URL"] = "redis://elsewhere.invalid:6379/0"
    shown = fresh.launch("--export", "printenv", "REDIS_URL", "DATABASE_URL")
    assert shown.stdout.splitlines()[0] == "redis://elsewhere.invalid:6379/0"
    assert shown.stdout.splitlines()[1].startswith("postgresql://adplatform:")
    assert [(fresh.state / name).exists() for name in ("postgres", "valkey-events", "valkey-hot")] == [
        True,
        True,
        False,
    ]


def test_nothing_is_started_or_written_when_every_url_is_given(fresh: Machine) -> None:
    given = {
        "DATABASE_URL": "postgresql://elsewhere.invalid/x",
        "REDIS_URL": "redis://a.invalid",
        "EVENTS_URL": "redis://b.invalid",
    }
    fresh.environment.update(given)
    shown = fresh.launch("--export", "printenv", *given)
    assert shown.stdout.split() == list(given.values())
    assert not (fresh.var / "state").exists()


def test_an_interrupted_first_start_leaves_nothing_half_made(fresh: Machine) -> None:
    with fresh.up():
        half = fresh.state / "postgres.new"
    shutil.rmtree(fresh.state / "postgres")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with fresh.up():
        assert fresh.sql("SELECT 1") == 1
    assert not half.exists()


def test_the_status_of_the_command_is_passed_on(machine: Machine) -> None:
    assert machine.launch("sh", "-c", "exit 7").returncode == 7


def _wait_until_gone(port: int | None) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port or 0), timeout=1).close()
        except OSError:
            return
        time.sleep(0.05)
