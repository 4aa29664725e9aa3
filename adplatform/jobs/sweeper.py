"""What keeps the night going when a process dies or a message is lost: a broker is not at-least-once, PostgreSQL is.

Only the latest slot of each schedule is looked after: every job brings its subject up to date, however many were missed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django_celery_beat.models import PeriodicTask

from adplatform.jobs import schedules, services
from adplatform.jobs.locks import job_lock
from adplatform.jobs.models import JobRun
from adplatform.jobs.registry import Outcome, discover

GRACE = timedelta(minutes=5)  # a slot without a row may still be waiting in the queue
RETRY_AFTER = timedelta(minutes=5)
MOST_SENT = 3  # per failure: a queue without a worker is not filled up
KEEP = timedelta(days=30)

Status = JobRun.Status


def sweep(*, at: datetime, dry_run: bool) -> Outcome:
    """Close dead runs, send lost and failed slots again (three times at most), forget runs older than 30 days."""
    dead = sum(_bury(name) for name in _running_jobs())
    sent = [name for name in sorted(discover()) if name != "sweep" and _send_again(name, at, dry_run=dry_run)]
    old = JobRun.objects.filter(started_at__lt=at - KEEP).exclude(status=Status.RUNNING)
    forgotten = old.count()
    if not dry_run:
        old.delete()
    counts = {"dead": dead, "sent_again": len(sent), "forgotten": forgotten}
    return Outcome(_words(dead, sent, forgotten), counts)


def _running_jobs() -> list[str]:
    running = JobRun.objects.filter(status=Status.RUNNING, is_dry_run=False).exclude(job_id="sweep")
    return list(running.order_by("job_id").values_list("job_id", flat=True).distinct())


def _bury(name: str) -> int:
    with job_lock(name) as is_free:
        return services.bury_dead_runs(name) if is_free else 0


def _send_again(name: str, at: datetime, *, dry_run: bool) -> bool:
    task = PeriodicTask.objects.filter(task=name, enabled=True).order_by("id").first()
    if task is None or task.last_run_at is None:
        return False  # nothing was ever due: beat itself sends the first
    slot = schedules.slot_of(task.schedule, at)
    if slot + GRACE > at:
        # Too fresh to judge. A schedule shorter than the grace is never judged: its next slot does the same work.
        return False
    row = JobRun.objects.filter(job_id=name, slot=slot, is_dry_run=False).first()
    if row is not None and not _deserves_another(row, at):
        return False
    if not dry_run:
        _note_and_send(name, slot, row, at)
    return True


def _deserves_another(row: JobRun, at: datetime) -> bool:
    if row.status != Status.FAILED or row.attempt >= services.MOST_ATTEMPTS or _sent(row) >= MOST_SENT:
        return False
    return row.finished_at is None or row.finished_at + RETRY_AFTER <= at


def _note_and_send(name: str, slot: datetime, row: JobRun | None, at: datetime) -> None:
    """The row counts how often its slot was sent, so that one which nobody takes is not sent for ever."""
    if row is None:
        row, _ = JobRun.objects.get_or_create(
            job_id=name,
            slot=slot,
            is_dry_run=False,
            defaults={
                "status": Status.FAILED,
                "attempt": 0,
                "started_at": at,
                "summary": "No run was seen in time; it was sent again.",
            },
        )
    noted = JobRun.objects.filter(pk=row.pk, status=Status.FAILED)
    noted.update(finished_at=at, counts={**row.counts, "sent_again": _sent(row) + 1})
    services.enqueue(name, slot=slot, trigger=JobRun.Trigger.SCHEDULE)


def _sent(row: JobRun) -> int:
    return int(row.counts.get("sent_again", 0))


def _words(dead: int, sent: list[str], forgotten: int) -> str:
    parts = [
        f"{dead} dead runs closed" if dead else "",
        f"sent again: {', '.join(sent)}" if sent else "",
        f"{forgotten} old runs forgotten" if forgotten else "",
    ]
    return "; ".join(part for part in parts if part) or "Nothing to do."
