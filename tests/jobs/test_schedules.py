"""Default schedules are seeded once and then belong to the operator; a schedule names slots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab, schedule
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from adplatform.celery import DEFAULT_SCHEDULES, QUEUES, app
from adplatform.jobs import queries, schedules, services
from adplatform.jobs.models import Job
from adplatform.jobs.registry import discover
from tests.factories import NOON


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "moment", "slot"),
    [
        (timedelta(seconds=30), "2026-06-15T12:00:29.9", "2026-06-15T12:00:00"),
        (timedelta(minutes=5), "2026-06-15T12:04:59", "2026-06-15T12:00:00"),
        (timedelta(minutes=5), "2026-06-15T12:05:00", "2026-06-15T12:05:00"),
        (timedelta(days=1), "2026-06-15T23:59:59", "2026-06-15T00:00:00"),
    ],
)
def test_slots_of_an_interval(period: timedelta, moment: str, slot: str) -> None:
    assert schedules.slot_of(schedule(period), at(moment)) == at(slot)


@pytest.mark.parametrize(
    ("rule", "moment", "slot"),
    [
        (crontab(minute="5"), "2026-06-15T12:04:59", "2026-06-15T11:05:00"),
        (crontab(minute="5"), "2026-06-15T12:05:00", "2026-06-15T12:05:00"),
        (crontab(minute="0", hour="2"), "2026-06-15T01:59:59", "2026-06-14T02:00:00"),
        (crontab(minute="*/20", hour="8-10"), "2026-06-15T15:00:00", "2026-06-15T10:40:00"),
        (crontab(minute="0", hour="0", day_of_week="sunday"), "2026-06-15T12:00:00", "2026-06-14T00:00:00"),
        (crontab(minute="30", hour="6", day_of_month="31"), "2026-06-15T12:00:00", "2026-05-31T06:30:00"),
    ],
)
def test_slots_of_a_crontab(rule: crontab, moment: str, slot: str) -> None:
    assert schedules.slot_of(rule, at(moment)) == at(slot)


def test_without_a_schedule_the_moment_is_the_slot() -> None:
    assert schedules.slot_of(None, NOON) == NOON


def test_beat_brings_no_schedules_of_its_own() -> None:
    """Else the database scheduler would write them over an operator's edits at every start."""
    assert app.conf.beat_schedule == {}


@pytest.mark.django_db
class TestSeeding:
    def test_every_job_of_the_table_is_scheduled_on_its_queue(self) -> None:
        jobs = discover()
        rows = {row.task: row for row in PeriodicTask.objects.filter(task__in=jobs)}
        assert rows.keys() == DEFAULT_SCHEDULES.keys() & jobs.keys()
        for name, row in rows.items():
            assert (row.queue, row.enabled, jobs[name].queue in QUEUES) == (jobs[name].queue, True, True)
        assert Job.objects.filter(name__in=jobs).count() == len(jobs)

    def test_what_an_operator_edited_stays(self) -> None:
        slow, _ = IntervalSchedule.objects.get_or_create(every=7, period=IntervalSchedule.MINUTES)
        PeriodicTask.objects.filter(task="sweep").update(interval=slow, enabled=False)

        assert services.seed_schedules() == 0

        row = PeriodicTask.objects.get(task="sweep")
        assert (row.interval, row.enabled) == (slow, False)

    def test_what_is_missing_is_created(self) -> None:
        PeriodicTask.objects.filter(task="settle").delete()
        assert services.seed_schedules() == 1
        assert str(PeriodicTask.objects.get(task="settle").crontab).startswith("5 * * * *")

    def test_people_read_schedules_in_words(self) -> None:
        lines = {line.name: line for line in queries.overview()}
        assert (lines["sweep"].schedule, lines["sweep"].is_enabled) == ("every minute", True)
        assert lines["settle"].schedule == "hourly at :05"
        assert lines["repace"].schedule == "every 5 minutes"
        assert queries.schedule_in_words(crontab(minute="0", hour="2")) == "daily at 02:00 UTC"
        assert queries.schedule_in_words(crontab(minute="*/20", day_of_week="mon")) == "*/20 * * * mon"
