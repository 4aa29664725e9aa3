"""The supervisor restarts what dies, ends what lingers, and finds what an earlier one left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from adplatform.core import supervisor
from adplatform.core.supervisor import Spec, Supervisor
from tests.launcher.machine import ROOT

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
LAST_WORDS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('{name}', time.monotonic(), flush=True), sys.exit())); print('ready', flush=True); time.sleep(60)"
PARENT = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print(p.pid, flush=True); p.wait()"


def spec(name: str, code: str, *, stage: int = 1, stop_seconds: float = 5) -> Spec:
    return Spec(name, (sys.executable, "-c", code), stage, stop_seconds)


def log_of(folder: Path, name: str) -> str:
    path = folder / "log" / f"{name}.log"
    return path.read_text() if path.exists() else ""


def pid_of(folder: Path, name: str) -> int:
    return int((folder / "run" / f"{name}.pid").read_text())


def wait(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_child_is_restarted_and_its_group_is_ended(tmp_path: Path) -> None:
    platform = Supervisor([spec("parent", PARENT)], tmp_path, os.environ)
    platform.start()
    try:
        wait(lambda: log_of(tmp_path, "parent"))
        first, orphan = pid_of(tmp_path, "parent"), int(log_of(tmp_path, "parent"))
        os.kill(first, signal.SIGKILL)
        wait(lambda: platform.tend() or not _alive(orphan))
        wait(lambda: platform.tend() or (tmp_path / "run" / "parent.pid").exists())
        assert pid_of(tmp_path, "parent") != first
        assert platform.children[0].restarts == 1
    finally:
        platform.stop()


def test_restarts_slow_down(tmp_path: Path) -> None:
    child = Supervisor([spec("failing", "raise SystemExit(3)")], tmp_path, os.environ).children[0]
    child.start()
    pauses = []
    for _ in range(7):
        assert child.process
        child.process.wait()
        child.tend(child.started)
        pauses.append(child.restart_at - child.started)
        child.tend(child.restart_at)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30])
    child.signal(signal.SIGKILL)


def test_stages_end_in_order_and_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    specs = [
        spec("last", LAST_WORDS.format(name="last"), stage=3),
        spec("stubborn", STUBBORN, stage=2, stop_seconds=0.5),
        spec("first", LAST_WORDS.format(name="first"), stage=1),
    ]
    platform = Supervisor(specs, tmp_path, os.environ)
    platform.start()
    wait(lambda: all("ready" in log_of(tmp_path, one.name) for one in specs))
    platform.stop()
    first, last = (float(log_of(tmp_path, name).split()[-1]) for name in ("first", "last"))
    assert last - first > 0.5, "the stubborn one got its time in between"
    assert [child.process.poll() for child in platform.children if child.process] == [0, -signal.SIGKILL, 0]
    assert list((tmp_path / "run").iterdir()) == []


def test_leftovers_of_a_killed_supervisor_are_ended(tmp_path: Path) -> None:
    mine, foreign = tmp_path / "mine", tmp_path / "foreign"
    left = [
        subprocess.Popen([sys.executable, "-c", SLEEP], env={**os.environ, supervisor.MARK: str(folder)})
        for folder in (mine, foreign)
    ]
    try:
        wait(lambda: all(psutil.Process(one.pid).environ().get(supervisor.MARK) for one in left))
        assert supervisor.end_leftovers(mine) == [left[0].pid]
        assert not psutil.pid_exists(left[0].pid)
        assert left[1].poll() is None
    finally:
        for one in left:
            one.kill()
            one.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends what is left")
def test_a_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from adplatform.core.supervisor import Spec, Supervisor;"
        f"Supervisor([Spec('child', (sys.executable, '-c', 'import time; time.sleep(60)'), 1, 1)], Path({str(tmp_path)!r}), os.environ).start();"
        "print('started', flush=True); time.sleep(60)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert killed.stdout
    assert killed.stdout.readline() == "started\n"
    child = psutil.Process(int((tmp_path / "run" / "child.pid").read_text()))
    killed.kill()
    killed.communicate()
    assert psutil.wait_procs([child], timeout=5)[1] == []


def test_a_large_log_is_rotated_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 10)
    log = tmp_path / "log" / "quick.log"
    log.parent.mkdir()
    log.write_text("more than ten bytes\n")
    child = Supervisor([spec("quick", "print('new')")], tmp_path, os.environ).children[0]
    child.start()
    assert child.process
    child.process.wait()
    assert (log.read_text(), log.with_name("quick.log.1").read_text()) == ("new\n", "more than ten bytes\n")


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
