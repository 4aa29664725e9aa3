"""What the console and the command line show of the jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from celery.schedules import crontab
from django_celery_beat.models import PeriodicTask

from adplatform.jobs.models import JobRun
from adplatform.jobs.registry import discover


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job as a person looks at it. `schedule` is in words; `is_enabled` says whether anything starts it."""

    name: str
    title: str
    queue: str
    description: str
    schedule: str
    is_enabled: bool
    last_run: JobRun | None

    def as_dict(self) -> dict[str, Any]:
        fields = ("name", "title", "queue", "description", "schedule", "is_enabled")
        return {
            **{name: getattr(self, name) for name in fields},
            "last_run": as_dict(self.last_run) if self.last_run else None,
        }


def overview() -> list[JobLine]:
    """Every job with its schedule and its latest real run."""
    tasks = {
        task.task: task for task in PeriodicTask.objects.select_related("interval", "crontab").order_by("-id")
    }
    runs = JobRun.objects.filter(is_dry_run=False).order_by("job_id", "-started_at").distinct("job_id")
    latest = {run.job_id: run for run in runs}
    lines = []
    for registered in discover().values():
        task = tasks.get(registered.name)
        lines.append(
            JobLine(
                name=registered.name,
                title=registered.title,
                queue=registered.queue,
                description=registered.description,
                schedule=schedule_in_words(task.schedule) if task else "on demand",
                is_enabled=bool(task and task.enabled),
                last_run=latest.get(registered.name),
            )
        )
    return lines


def schedule_in_words(schedule: Any) -> str:
    """'every 5 minutes', 'hourly at :05', 'daily at 02:00 UTC', or the five fields of a crontab."""
    if not isinstance(schedule, crontab):
        return f"every {_duration(getattr(schedule, 'run_every', timedelta(0)))}"
    days = (schedule._orig_day_of_week, schedule._orig_day_of_month, schedule._orig_month_of_year)
    minute, hour = str(schedule._orig_minute), str(schedule._orig_hour)
    if all(str(part) == "*" for part in days) and minute.isdigit():
        if hour == "*":
            return f"hourly at :{int(minute):02d}"
        if hour.isdigit():
            return f"daily at {int(hour):02d}:{int(minute):02d} {schedule.tz}"
    return " ".join(str(part) for part in (minute, hour, days[1], days[2], days[0]))


def as_dict(run: JobRun) -> dict[str, Any]:
    """A run as the commands print it."""
    return {
        "job": run.job_id,
        "slot": run.slot.isoformat(),
        "status": run.status,
        "trigger": run.trigger,
        "dry_run": run.is_dry_run,
        "attempt": run.attempt,
        "summary": run.summary,
        "counts": run.counts,
        "started_at": run.started_at.isoformat(),
        "duration_seconds": run.duration_seconds,
        "error": run.error,
    }


def _duration(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0 and seconds >= size:
            count = seconds // size
            return unit if count == 1 else f"{count} {unit}s"
    return f"{span.total_seconds()} seconds"
