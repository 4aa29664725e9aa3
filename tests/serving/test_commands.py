"""The two processes that feed PostgreSQL and the snapshots: they act at once and stop cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import call_command

from adplatform.campaigns import services
from adplatform.core import clock, outbox
from adplatform.core.models import Outbox
from adplatform.events import ingest
from adplatform.events.models import FillStat
from adplatform.jobs import registry
from adplatform.serving.management.commands import publisher
from tests import factories
from tests.events.streams import append, decision
from tests.serving import market as m

ROOT = Path(__file__).resolve().parents[2]


def start(command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", command], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )


def wait_for(condition, seconds: float = 90.0) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.django_db
def test_an_edit_is_published_once(tmp_path, settings, hot) -> None:
    settings.SNAPSHOT_DIR = tmp_path
    settings.REDIS_URL = os.environ["REDIS_URL"]
    m.ad()
    outbox.write("snapshot", {"because": "test"})
    outbox.write("snapshot")
    outbox.write("mail")
    call_command("publisher", "--once")
    call_command("publisher", "--once")
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    assert list(Outbox.objects.filter(done_at=None).values_list("topic", flat=True)) == ["mail"]
    assert hot.get("snapshot:current").decode() == (tmp_path / "current").read_text()


@pytest.mark.django_db
def test_one_snapshot_answers_all_that_was_edited_before_it(tmp_path, settings, hot) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"
    Outbox.objects.bulk_create([Outbox(topic="snapshot", payload={}) for _ in range(1_200)])
    call_command("publisher", once=True)
    assert not Outbox.objects.filter(done_at__isnull=True).exists()
    assert len([path for path in settings.SNAPSHOT_DIR.iterdir() if path.is_dir()]) == 1


@pytest.mark.django_db
def test_a_change_that_cannot_be_published_is_tried_again_and_then_parked(
    tmp_path, settings, monkeypatch
) -> None:
    settings.SNAPSHOT_DIR = tmp_path
    outbox.write("snapshot")

    def fail(**_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(publisher.publish, "publish", fail)
    for _ in range(outbox.PARKED_AFTER):
        with pytest.raises(OSError, match="disk full"):
            call_command("publisher", "--once")
    call_command("publisher", "--once")
    assert Outbox.objects.get().attempts == outbox.PARKED_AFTER


@pytest.mark.django_db
def test_a_change_that_is_rolled_back_is_never_heard_of() -> None:
    from django.db import transaction

    with transaction.atomic():
        outbox.write("snapshot")
        transaction.set_rollback(True)
    assert outbox.waiting(topics=["snapshot"]) == []


@pytest.mark.django_db(transaction=True)
def test_an_edit_reaches_a_serving_process_within_five_seconds(
    tmp_path, process_environment, hot, events
) -> None:
    creative = m.ad(line_item={"bid_micros": 500_000})
    process = start("publisher", process_environment | {"ADPLATFORM_VAR": str(tmp_path)})
    server = m.server(tmp_path, hot, events)

    def bid() -> int | None:
        return server.snapshot.candidates[0].bid_micros if server.snapshot else None

    try:
        outbox.write("snapshot")
        wait_for((tmp_path / "snapshots" / "current").exists)
        server.start()
        assert bid() == 500_000
        services.save_line_item(
            user=None,
            campaign=creative.line_item.campaign,
            line_item=creative.line_item,
            bid_micros=700_000,
        )
        assert wait_for(lambda: bid() == 700_000) < 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        server.close()


@pytest.mark.django_db(transaction=True)
def test_ingest_stores_what_arrives_and_stops_cleanly(events, process_environment) -> None:
    slot = factories.slot()
    process = start("ingest", process_environment)
    try:
        append(events, *(decision(slot) for _ in range(5)))
        wait_for(lambda: FillStat.objects.filter(requests=5).exists() and ingest.backlog(events) == 0)
        append(events, decision(slot))
        wait_for(lambda: FillStat.objects.filter(requests=6).exists())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert b"stored 6 events" in process.stdout.read()
    finally:
        process.kill()


@pytest.mark.django_db
def test_ingest_once_ends_when_the_stream_is_empty(events, hot, settings) -> None:
    settings.EVENTS_URL, settings.REDIS_URL = os.environ["EVENTS_URL"], os.environ["REDIS_URL"]
    append(events, decision(factories.slot()))
    call_command("ingest", "--once")
    assert FillStat.objects.get().requests == 1


@pytest.mark.django_db
def test_the_snapshot_job_publishes_and_a_dry_run_does_not(tmp_path, settings) -> None:
    settings.SNAPSHOT_DIR = tmp_path
    m.ad()
    m.slot()
    job = registry.find("snapshot")
    now = clock.now()
    for dry_run, folders in ((True, 0), (False, 1)):
        outcome = job.function(at=now, slot=now, dry_run=dry_run, progress=lambda done, total: None)
        assert outcome.counts == {"ads": 1, "slots": 1, "api_keys": 0}
        assert len([path for path in tmp_path.glob("2*") if path.is_dir()]) == folders
