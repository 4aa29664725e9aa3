"""What a process or a broker lost is found and sent again, a few times and not for ever."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta

import pytest
import redis
from django_celery_beat.models import PeriodicTask

from adplatform.jobs import sweeper
from adplatform.jobs.locks import job_lock
from adplatform.jobs.models import JobRun
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db
Status = JobRun.Status
SLOT = NOON + timedelta(minutes=5)  # settle's: hourly at :05


@pytest.fixture(autouse=True)
def only_settle(hot: redis.Redis) -> None:
    """One schedule that beat has begun; the broker's queues are empty."""
    PeriodicTask.objects.exclude(task="settle").delete()
    PeriodicTask.objects.update(last_run_at=NOON)


def sent(hot: redis.Redis) -> list[tuple[str, str]]:
    """(task, slot) of the messages waiting in the default queue."""
    messages = [json.loads(raw) for raw in hot.lrange("default", 0, -1)]
    bodies = [json.loads(base64.b64decode(message["body"])) for message in messages]
    return [
        (message["headers"]["task"], body[1]["slot"]) for message, body in zip(messages, bodies, strict=True)
    ]


def sweep(at: datetime, *, dry_run: bool = False) -> dict[str, int]:
    return dict(sweeper.sweep(at=at, dry_run=dry_run).counts)


def test_a_slot_that_nobody_ran_is_sent_again_three_times_at_most(hot: redis.Redis) -> None:
    assert sweep(SLOT + timedelta(minutes=4))["sent_again"] == 0  # it may still wait in the queue
    for minutes in range(5, 55):
        sweep(SLOT + timedelta(minutes=minutes))
    row = JobRun.objects.get(job="settle")
    assert (row.slot, row.status, row.summary) == (
        SLOT,
        Status.FAILED,
        "No run was seen in time; it was sent again.",
    )
    assert sent(hot) == [("settle", SLOT.isoformat())] * 3


def test_a_failed_slot_is_sent_again_after_a_while(hot: redis.Redis) -> None:
    factories.job_run(
        factories.job("settle"),
        slot=SLOT,
        status=Status.FAILED,
        started_at=SLOT,
        finished_at=SLOT + timedelta(minutes=2),
    )
    assert sweep(SLOT + timedelta(minutes=6))["sent_again"] == 0
    assert sweep(SLOT + timedelta(minutes=7))["sent_again"] == 1


@pytest.mark.parametrize(
    ("status", "attempt"), [(Status.SUCCEEDED, 1), (Status.SKIPPED, 1), (Status.FAILED, 3)]
)
def test_what_is_done_or_hopeless_is_left_alone(hot: redis.Redis, status: str, attempt: int) -> None:
    factories.job_run(factories.job("settle"), slot=SLOT, status=status, attempt=attempt)
    assert sweep(SLOT + timedelta(minutes=30))["sent_again"] == 0
    assert sent(hot) == []


def test_a_schedule_that_is_off_or_never_began_is_left_alone(hot: redis.Redis) -> None:
    PeriodicTask.objects.update(enabled=False)
    assert sweep(SLOT + timedelta(minutes=30))["sent_again"] == 0
    PeriodicTask.objects.update(enabled=True, last_run_at=None)
    assert sweep(SLOT + timedelta(minutes=30))["sent_again"] == 0


def test_dead_runs_are_closed_and_living_ones_are_not() -> None:
    running = {"status": Status.RUNNING, "finished_at": None}
    dead = factories.job_run(factories.job("settle"), slot=SLOT, **running)
    alive = factories.job_run(factories.job("repace"), slot=SLOT, **running)
    with job_lock("repace"):
        assert sweep(SLOT)["dead"] == 1
    dead.refresh_from_db()
    alive.refresh_from_db()
    assert (dead.status, alive.status) == (Status.FAILED, Status.RUNNING)


def test_old_rows_are_forgotten() -> None:
    old = factories.job_run(started_at=NOON - timedelta(days=31), finished_at=NOON - timedelta(days=31))
    young = factories.job_run(started_at=NOON - timedelta(days=29), finished_at=NOON - timedelta(days=29))
    assert sweep(NOON, dry_run=True)["forgotten"] == 1
    assert JobRun.objects.filter(pk=old.pk).exists()
    sweep(NOON)
    assert list(JobRun.objects.filter(pk__in=[old.pk, young.pk])) == [young]


def test_a_dry_sweep_sends_nothing(hot: redis.Redis) -> None:
    assert sweep(SLOT + timedelta(minutes=30), dry_run=True)["sent_again"] == 1
    assert sent(hot) == []
