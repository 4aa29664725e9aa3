"""Real servers for every test: those named by DATABASE_URL, REDIS_URL and EVENTS_URL, else embedded ones in var/test.

This file starts them before Django's settings are read, and only then names the settings module. Databases of
Valkey: tests use the number in the URL and empty it; number 0 of a server that we were given is never touched.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("ADPLATFORM_VAR", str(ROOT / "var" / "test"))

from adplatform import embedded  # noqa: E402


def _own_number(url: str) -> str:
    """The same server with a database number that belongs to tests."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path="/15")) if parts.path.strip("/") in {"", "0"} else url


for _name, _url in embedded.ensure().items():
    os.environ[_name] = _url if _name == "DATABASE_URL" else _own_number(_url)
os.environ["DJANGO_SETTINGS_MODULE"] = "adplatform.settings"

import pytest  # noqa: E402
import redis  # noqa: E402
from django.conf import settings  # noqa: E402

from adplatform.core import processes  # noqa: E402
from deploy import browser  # noqa: E402

# Loads the settings, after which pytest-django sets Django up. Facts and the ledger refuse TRUNCATE, except in a
# database called test_… by a session that asks for it: pytest-django empties tables so.
settings.DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c adplatform.maintenance=on"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The test database with its roles and policies, as every start of the platform makes them."""
    from adplatform.core import roles

    with django_db_blocker.unblock():
        roles.apply()


def _empty_client(url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(url)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def hot() -> Iterator[redis.Redis]:
    """The hot Valkey, emptied before and after."""
    yield from _empty_client(settings.REDIS_URL)


@pytest.fixture
def events() -> Iterator[redis.Redis]:
    """The Valkey of the event stream, emptied before and after."""
    yield from _empty_client(settings.EVENTS_URL)


@pytest.fixture(scope="session")
def process_environment(django_db_setup: None) -> dict[str, str]:
    """Environment for a child process that works on the test database and the tests' Valkey numbers."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    name = str(settings.DATABASES["default"]["NAME"])
    return os.environ | {
        "DATABASE_URL": urlunsplit(parts._replace(path=f"/{name}")),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


@pytest.fixture(scope="session")
def live_worker(process_environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A real Celery worker of all queues on the test database; a test that uses it must commit (transaction=True)."""
    log = embedded.var_dir() / "log" / "test-worker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = processes.worker(f"test-{os.getpid()}", "default,gpu,events", memory_kb=1_500_000)
    with log.open("wb") as file:
        worker = subprocess.Popen(
            command, cwd=ROOT, env=process_environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        _wait_for_worker(worker, log)
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(timeout=10)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _wait_for_worker(worker: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while b" ready." not in log.read_bytes():
        if worker.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the Celery worker did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; the test is skipped only where CI does not run."""
    path = browser.find()
    if path is None and os.environ.get("CI"):
        pytest.fail("no Chromium found: deploy/browser.py installs it")
    if path is None:
        pytest.skip("no Chromium found: python deploy/browser.py")
    return path
