"""`manage.py up`: everything serves, the killed come back, a second one is refused, the stop is clean and quick."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from adplatform.core import supervisor
from adplatform.embedded import net
from tests.launcher.machine import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Platform:
    process: subprocess.Popen[str]
    var: Path
    port: int
    ads_port: int
    says: str

    def status(self, port: int, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def pid(self, name: str) -> int:
        path = self.var / "run" / f"{name}.pid"
        return int(path.read_text()) if path.exists() else 0


def _command(port: int, ads_port: int) -> list[str]:
    return [sys.executable, "manage.py", "up", "--port", str(port), "--ads-port", str(ads_port)]


@pytest.fixture
def platform(tmp_path: Path, process_environment: dict[str, str]) -> Iterator[Platform]:
    port = net.free_port(set())
    ads_port = net.free_port({port})
    environment = process_environment | {"ADPLATFORM_VAR": str(tmp_path)}
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            _command(port, ads_port), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout
    try:
        yield Platform(process, tmp_path, port, ads_port, process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        supervisor.end_leftovers(tmp_path)


def test_the_whole_platform(platform: Platform, process_environment: dict[str, str]) -> None:
    assert platform.says == (
        f"AdPlatform serves pages at http://localhost:{platform.port} and ads at http://localhost:{platform.ads_port} (Ctrl-C stops it)\n"
    )
    assert platform.status(platform.port, "/livez") == 200
    assert platform.status(platform.ads_port, "/livez") == 200

    _doctor_agrees(platform, process_environment)
    _second_is_refused(platform, process_environment)
    _killed_pages_come_back(platform)

    started = time.monotonic()
    platform.process.send_signal(signal.SIGTERM)
    assert platform.process.wait(timeout=30) == 0
    assert time.monotonic() - started < 15
    assert supervisor.end_leftovers(platform.var) == []
    assert list((platform.var / "run").glob("*.pid")) == [platform.var / "run" / "up.pid"]
    assert platform.status(platform.port, "/livez") == 0


def _doctor_agrees(platform: Platform, environment: dict[str, str]) -> None:
    told = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT, env=environment | {"ADPLATFORM_VAR": str(platform.var)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    found = {check["name"]: check for check in json.loads(told.stdout)["checks"]}
    assert found["servers"]["says"] == "given: DATABASE_URL, REDIS_URL, EVENTS_URL"
    assert found["ports"] == {
        "name": "ports",
        "status": "ok",
        "says": f"{platform.port} and {platform.ads_port} are served by this platform",
        "fix": "",
    }
    assert found["migrations"]["status"] == "ok"
    assert found["models"]["fix"] == "manage.py train"
    assert told.returncode == (not json.loads(told.stdout)["ok"])


def _second_is_refused(platform: Platform, environment: dict[str, str]) -> None:
    second = subprocess.run(
        _command(net.free_port(set()), net.free_port(set())),
        cwd=ROOT, env=environment | {"ADPLATFORM_VAR": str(platform.var)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert second.returncode == 1
    assert second.stderr.strip().endswith(
        f"the platform already runs here (process {platform.process.pid}): stop it first"
    )


def _killed_pages_come_back(platform: Platform) -> None:
    first = platform.pid("pages")
    assert psutil.Process(first).ppid() == platform.process.pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 40
    while platform.pid("pages") in (0, first) or platform.status(platform.port, "/livez") != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "pages ended with status -9" in (platform.var / "up.log").read_text()
