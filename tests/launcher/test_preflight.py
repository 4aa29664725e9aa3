"""What a machine lacks is said in one line before work starts."""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adplatform.embedded import LaunchError, net, preflight
from deploy import install
from tests.launcher.machine import ROOT, Machine


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A checkout in which nothing was installed, driven by a Python without our packages."""
    for name in (
        "adplatform/__init__.py",
        "deploy/install.py",
        "requirements.txt",
        "requirements-models.txt",
        "requirements-dev.txt",
        "constraints.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "adplatform" / "embedded", tmp_path / "adplatform" / "embedded")
    return Machine(tmp_path / "var", root=tmp_path, python=getattr(sys, "_base_executable", sys.executable))


def _install(bare: Machine, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bare.python, "-S", "deploy/install.py", *options],
        cwd=bare.root, env=bare.environment | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_port_in_use_is_named_before_anything_is_installed(bare: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refused = _install(bare, "--serving", PORT=str(port))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (
        refused.stderr
        == f"adplatform: port {port} is in use: stop the program that listens there, or choose another with PORT\n"
    )
    assert not (bare.root / ".venv").exists()


def test_a_port_that_our_own_killed_platform_still_holds_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADPLATFORM_VAR", str(tmp_path))
    (tmp_path / "run").mkdir()
    port = net.free_port(set())
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); print('listens', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code, "granian", "--port", str(port)], stdout=subprocess.PIPE, text=True
    ) as left:
        assert left.stdout
        assert left.stdout.readline() == "listens\n"
        with pytest.raises(LaunchError, match=f"port {port} is in use"):
            preflight.check_port(port, "PORT")
        (tmp_path / "run" / "pages.pid").write_text(f"{left.pid}\n")
        preflight.check_port(port, "PORT")
        left.kill()


def test_a_second_platform_is_refused(bare: Machine) -> None:
    run = bare.var / "run"
    run.mkdir(parents=True)
    with (run / "up.pid").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("4711\n")
        held.flush()
        refused = _install(bare, "--serving")
    assert refused.stderr == "adplatform: the platform already runs here (process 4711): stop it first\n"


def test_nothing_is_done_when_the_stamp_matches(bare: Machine) -> None:
    (bare.root / ".venv").mkdir()
    fingerprint = subprocess.run(
        [bare.python, "-c", "from deploy import install; print(install.fingerprint(install.RUN))"],
        cwd=bare.root, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (bare.root / ".venv" / "installed-run").write_text(fingerprint)
    started = time.monotonic()
    done = _install(bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - started < 1


def test_a_changed_requirement_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "ROOT", tmp_path)
    (tmp_path / "one.txt").write_text("a==1\n")
    before = install.fingerprint((("-r", "one.txt"),))
    (tmp_path / "one.txt").write_text("a==2\n")
    assert install.fingerprint((("-r", "one.txt"),)) != before


def test_too_little_disk(tmp_path: Path) -> None:
    preflight.check_disk(tmp_path / "not" / "there" / "yet", 1)
    with pytest.raises(LaunchError, match=r"^too little disk: [\d.]+ GB free in \S+, 1000000000 GB needed$"):
        preflight.check_disk(tmp_path, 10**18)


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "MEMORY_RUN", 10**15)
    with pytest.raises(LaunchError, match=r"^too little memory: [\d.]+ GB available, 1000000 GB needed$"):
        preflight.check_memory()
