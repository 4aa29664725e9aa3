"""When jobs run: the table in celery.py seeds django_celery_beat, whose rows the operator then owns.

A *slot* is the moment that a schedule names (12:05:00, not the 12:05:00.3 at which a message arrived), so that two
schedulers, a repeated message and a retry all mean the same run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from celery.schedules import crontab
from django.db import connection
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from adplatform.celery import DEFAULT_SCHEDULES
from adplatform.jobs.models import Job
from adplatform.jobs.registry import RegisteredJob, discover

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_WAIT_DAYS = 366


def seed() -> int:
    """Create what is missing of the default schedules, change nothing that exists; returns how many were created."""
    created = 0
    for registered in discover().values():
        describe(registered)
        schedule = DEFAULT_SCHEDULES.get(registered.name)
        if schedule is not None:
            created += _seed_one(registered, schedule)
    return created


def seed_after_migrate(**_: object) -> None:
    """The same after each `migrate`, once the scheduler's tables exist."""
    if PeriodicTask._meta.db_table in connection.introspection.table_names():
        seed()


def describe(registered: RegisteredJob) -> Job:
    """The job's row, as its decorator describes it."""
    words = {"title": registered.title, "description": registered.description, "queue": registered.queue}
    row, _ = Job.objects.update_or_create(name=registered.name, defaults=words)
    return row


def schedule_of(name: str) -> Any | None:
    """The job's schedule as the operator set it (a Celery schedule), or None where nothing schedules it."""
    row = PeriodicTask.objects.filter(task=name, enabled=True).order_by("id").first()
    return row.schedule if row else None


def slot_of(schedule: Any | None, at: datetime) -> datetime:
    """The latest moment, not after `at`, that the schedule names; without one, `at` itself."""
    if schedule is None:
        return at
    if isinstance(schedule, crontab):
        return _last_crontab_moment(schedule, at)
    period = cast(timedelta, getattr(schedule, "run_every", timedelta(minutes=1)))
    return _EPOCH + (at - _EPOCH) // period * period


def _seed_one(registered: RegisteredJob, schedule: Any) -> int:
    fields: dict[str, Any] = {
        "task": registered.name,
        "queue": registered.queue,
        "description": registered.description,
    }
    if isinstance(schedule, crontab):
        parts = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
        moment, _ = CrontabSchedule.objects.get_or_create(
            **{part: getattr(schedule, f"_orig_{part}") for part in parts}, timezone="UTC"
        )
        # A night's job that waits for a worker until noon is left to the next night.
        fields |= {"crontab": moment, "expire_seconds": 6 * 3_600}
    else:
        seconds = int(schedule.total_seconds())
        interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period=IntervalSchedule.SECONDS)
        # Without a worker, at most a few messages wait: the next one does the same work.
        fields |= {"interval": interval, "expire_seconds": max(60, 2 * seconds)}
    _, is_new = PeriodicTask.objects.get_or_create(name=registered.title, defaults=fields)
    return int(is_new)


def _last_crontab_moment(schedule: Any, at: datetime) -> datetime:
    local = at.astimezone(schedule.tz)
    for days in range(_LONGEST_WAIT_DAYS):
        day = local - timedelta(days=days)
        if not _day_matches(schedule, day):
            continue
        for hour in sorted(schedule.hour, reverse=True):
            for minute in sorted(schedule.minute, reverse=True):
                moment = day.replace(hour=hour, minute=minute, second=0, microsecond=0)
                if moment <= local:
                    return moment.astimezone(UTC)
    return at


def _day_matches(schedule: Any, day: datetime) -> bool:
    return (
        day.month in schedule.month_of_year
        and day.day in schedule.day_of_month
        and day.isoweekday() % 7 in schedule.day_of_week  # Celery's Sunday is 0
    )
