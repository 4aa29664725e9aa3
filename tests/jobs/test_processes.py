"""Real processes: a worker runs what the console asks for, a killed one is noticed, a dead broker refuses quickly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adplatform.jobs import services, sweeper
from adplatform.jobs.models import JobRun
from adplatform.jobs.workers import running_worker
from tests.factories import NOON

ROOT = Path(__file__).resolve().parents[2]
Status = JobRun.Status


def python(code: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process of its own in which Django is set up."""
    start = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'adplatform.settings'; django.setup()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start + code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(found: Callable[[], Any], *, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.mark.django_db(transaction=True)
def test_run_now_reaches_a_worker(live_worker: object) -> None:
    services.seed_schedules()
    slot = services.enqueue("sweep", "ada@example.com")

    row = wait_for(
        lambda: JobRun.objects.filter(job="sweep", slot=slot).exclude(status=Status.RUNNING).first()
    )

    assert (row.status, row.trigger, row.requested_by, row.summary) == (
        Status.SUCCEEDED,
        "console",
        "ada@example.com",
        "Nothing to do.",
    )


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_answers_is_not_joined_by_another(live_worker: object) -> None:
    with running_worker(["default", "gpu"]) as words:
        assert words == "workers that were already running"


SLOW_JOB = """
import time
from datetime import datetime
from adplatform.jobs import services
from adplatform.jobs.registry import job
job("slow", title="Slow")(lambda **_: time.sleep(60))
services.run("slow", slot=datetime.fromisoformat("{at}"), at=datetime.fromisoformat("{at}"), trigger="schedule")
"""


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_process_is_killed_is_closed_by_the_sweep(process_environment: dict[str, str]) -> None:
    process = python(SLOW_JOB.format(at=NOON.isoformat()), process_environment)
    running = wait_for(lambda: JobRun.objects.filter(job="slow", status=Status.RUNNING).first())
    assert sweeper.sweep(at=NOON, dry_run=False).counts["dead"] == 0

    process.send_signal(signal.SIGKILL)
    process.communicate()

    wait_for(lambda: sweeper.sweep(at=NOON, dry_run=False).counts["dead"] == 1)
    running.refresh_from_db()
    assert (running.status, running.summary) == (Status.FAILED, "Its process died before the end.")


OWN_WORKER = """
import json, time
from adplatform.jobs import services
from adplatform.jobs.models import JobRun
from adplatform.jobs.workers import running_worker, served_queues
with running_worker(["gpu", "default"]) as words:
    queues = sorted(served_queues())
    slot = services.enqueue("sweep")
    while not JobRun.objects.filter(job="sweep", slot=slot, status="succeeded"):
        time.sleep(0.1)
print(json.dumps([words, queues, sorted(served_queues())]))
"""


@pytest.mark.django_db(transaction=True)
def test_a_command_brings_its_own_worker_and_takes_it_away_again(process_environment: dict[str, str]) -> None:
    # A database of Valkey that no other worker listens to.
    broker = process_environment["REDIS_URL"].rsplit("/", 1)[0] + "/13"
    out, err = python(OWN_WORKER, process_environment | {"CELERY_BROKER_URL": broker}).communicate(
        timeout=120
    )
    assert err == "" or "Traceback" not in err, err
    assert json.loads(out) == ["a worker of its own for gpu, default", ["default", "gpu"], []]


ENQUEUE = """
import time
from adplatform.jobs import registry, services
registry.discover()
began = time.monotonic()
try:
    services.enqueue("sweep")
except services.BrokerUnavailableError as error:
    print(f"{time.monotonic() - began:.1f}", error)
"""


def refused_after(broker: str, environment: dict[str, str]) -> tuple[float, str]:
    out, err = python(ENQUEUE, environment | {"CELERY_BROKER_URL": broker}).communicate(timeout=90)
    assert out, err
    seconds, words = out.strip().split(" ", 1)
    return float(seconds), words


def test_a_broker_that_is_down_refuses_at_once() -> None:
    seconds, words = refused_after("redis://127.0.0.1:1/0", dict(os.environ))
    assert seconds < 4
    assert words.startswith("Sweep was not started: the job queue cannot be reached")


def test_a_broker_that_hangs_refuses_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:  # it accepts connections and never answers
        seconds, words = refused_after(f"redis://127.0.0.1:{frozen.getsockname()[1]}/0", dict(os.environ))
    assert seconds < 15
    assert "cannot be reached" in words


HEAVY = """
import sys
from adplatform.jobs.registry import discover
names = sorted(discover())
print([name for name in ("torch", "transformers", "lightgbm", "sklearn", "pandas", "onnxruntime") if name in sys.modules], *names)
"""


def test_a_worker_forks_before_anything_heavy_is_loaded() -> None:
    out, err = python(HEAVY, dict(os.environ)).communicate(timeout=60)
    assert out.startswith("[] "), out + err
    assert {"repace", "settle", "sweep"} <= set(out.split())
