"""Running a job: one row per job and slot, a lock against a second process, a dry run that changes nothing.

A slot that failed or was skipped may run again (attempt + 1); one that succeeded never does.
"""

from __future__ import annotations

import logging
import time
import traceback
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import F

from adplatform.core import clock
from adplatform.jobs import schedules
from adplatform.jobs.locks import job_lock
from adplatform.jobs.models import JobRun
from adplatform.jobs.registry import JobError, Outcome, RegisteredJob, find

log = logging.getLogger(__name__)

# After so many attempts a scheduled slot is left alone: what kills a worker (out of memory) would kill it for ever.
MOST_ATTEMPTS = 3
TRACEBACK_FRAMES = 4
PROGRESS_SECONDS = 0.5
_PERSON = "person:"  # before the primary key of who asked

Status = JobRun.Status
Trigger = JobRun.Trigger


class BrokerUnavailableError(JobError):
    """The queue of jobs cannot be reached; nothing was sent."""


def run(
    name: str, *, slot: datetime, at: datetime, trigger: str, dry_run: bool = False, requested_by: str = ""
) -> JobRun:
    """Run the job for its slot here and now, and return the run's row; a failure is in the row, not raised.

    Where another process runs this job, the slot is skipped (or, if it is that very slot, its row returned as it is).
    """
    registered = find(name)
    schedules.describe(registered)
    fields: dict[str, Any] = {"trigger": trigger, "requested_by": requested_by, "started_at": clock.now()}
    if dry_run:
        row = JobRun.objects.create(job_id=name, slot=slot, is_dry_run=True, **fields)
        return _perform(registered, row, at)
    with job_lock(name) as is_ours:
        if not is_ours:
            return _skipped(name, slot, fields)
        bury_dead_runs(name)
        row, may_run = _claim(name, slot, fields)
        return _perform(registered, row, at) if may_run else row


def run_task(name: str, *, slot: str | None, trigger: str, requested_by: str = "") -> JobRun:
    """What the Celery task does: the slot comes with the message, else the schedule names it."""
    at = clock.now()
    moment = datetime.fromisoformat(slot) if slot else schedules.slot_of(schedules.schedule_of(name), at)
    result = run(name, slot=moment, at=at, trigger=trigger, requested_by=_name_of(requested_by))
    log.info("job %s %s: %s %s", name, moment.isoformat(), result.status, result.summary)
    return result


def enqueue(
    name: str, user: object = "", *, slot: datetime | None = None, trigger: str = Trigger.CONSOLE
) -> datetime:
    """Ask a worker to run the job ("run now"); returns its slot, or raises BrokerUnavailableError within seconds."""
    registered = find(name)
    moment = slot or clock.now()
    message = {"slot": moment.isoformat(), "trigger": str(trigger), "requested_by": _reference(user)}
    try:
        registered.task.apply_async(kwargs=message, queue=registered.queue, retry=False)
    except Exception as error:  # each broker has errors of its own; what is none of theirs is raised again
        if type(error).__module__.split(".")[0] in {"kombu", "redis", "amqp"} or isinstance(error, OSError):
            raise BrokerUnavailableError(
                f"{registered.title} was not started: the job queue cannot be reached ({error})."
            ) from error
        raise
    return moment


def _reference(user: object) -> str:
    """How a message names a person: it lies in Valkey and in workers' logs, where no name belongs."""
    pk = getattr(user, "pk", None)
    return str(user) if pk is None else f"{_PERSON}{pk}"


def _name_of(reference: str) -> str:
    if not reference.startswith(_PERSON):
        return reference
    return str(get_user_model()._default_manager.filter(pk=reference.removeprefix(_PERSON)).first() or "")


def seed_schedules() -> int:
    """Create what is missing of the default schedules; what an operator edited stays."""
    return schedules.seed()


def bury_dead_runs(name: str) -> int:
    """Mark runs as failed whose process is gone. Only the holder of the job's lock may call it: a live run has it."""
    return JobRun.objects.filter(job_id=name, status=Status.RUNNING, is_dry_run=False).update(
        status=Status.FAILED,
        finished_at=clock.now(),
        summary="Its process died before the end.",
        error="No live process holds this run.",
    )


def _claim(name: str, slot: datetime, fields: dict[str, Any]) -> tuple[JobRun, bool]:
    """The slot's row, and whether it may run now (new, failed or skipped)."""
    row, is_new = JobRun.objects.get_or_create(job_id=name, slot=slot, is_dry_run=False, defaults=fields)
    if is_new:
        return row, True
    again = JobRun.objects.filter(pk=row.pk, status__in=[Status.FAILED, Status.SKIPPED])
    if fields["trigger"] == Trigger.SCHEDULE:
        again = again.filter(attempt__lt=MOST_ATTEMPTS)
    cleared: dict[str, Any] = {
        "finished_at": None,
        "summary": "",
        "error": "",
        "counts": {},
        "progress_done": 0,
        "progress_total": 0,
    }
    changed = again.update(status=Status.RUNNING, attempt=F("attempt") + 1, **fields, **cleared)
    row.refresh_from_db()
    return row, bool(changed)


def _skipped(name: str, slot: datetime, fields: dict[str, Any]) -> JobRun:
    words = {
        "status": Status.SKIPPED,
        "attempt": 0,  # it was not tried
        "summary": "Skipped: an earlier run is still going.",
        "finished_at": fields["started_at"],
    }
    row, _ = JobRun.objects.get_or_create(
        job_id=name, slot=slot, is_dry_run=False, defaults={**fields, **words}
    )
    return row


def _perform(registered: RegisteredJob, row: JobRun, at: datetime) -> JobRun:
    try:
        outcome = _call(registered, row, at)
    except Exception as error:  # whatever a job fails with, its run says so
        log.exception("job %s failed", registered.name)
        return _finish(
            row,
            Status.FAILED,
            summary=f"{type(error).__name__}: {error}"[:500],
            error=_short_traceback(error),
        )
    except BaseException as error:  # Ctrl-C, a worker told to stop: the row must not stay open
        _finish(row, Status.FAILED, summary=f"Interrupted ({type(error).__name__}).")
        raise
    return _finish(
        row, Status.SUCCEEDED, summary=outcome.words, counts=dict(outcome.counts), **_completed(row)
    )


def _call(registered: RegisteredJob, row: JobRun, at: datetime) -> Outcome:
    if not row.is_dry_run:
        return registered.function(at=at, slot=row.slot, dry_run=False, progress=_Progress(row))
    with transaction.atomic():  # what a dry run writes all the same is taken back
        outcome = registered.function(at=at, slot=row.slot, dry_run=True, progress=_Progress(row))
        transaction.set_rollback(True)
    return outcome


class _Progress:
    """Writes a run's progress, at most twice a second."""

    def __init__(self, row: JobRun) -> None:
        self._row = row
        self._written_at = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        self._row.progress_done, self._row.progress_total = done, total
        if time.monotonic() - self._written_at >= PROGRESS_SECONDS:
            self._written_at = time.monotonic()
            self._row.save(update_fields=["progress_done", "progress_total"])


def _completed(row: JobRun) -> dict[str, int]:
    return {"progress_done": row.progress_total} if row.progress_total else {}


def _finish(row: JobRun, status: str, **fields: Any) -> JobRun:
    """Close the row, unless this process lost its lock and another took the slot over (its attempt is higher)."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    progress = {"progress_done": row.progress_done, "progress_total": row.progress_total}
    mine = JobRun.objects.filter(pk=row.pk, attempt=row.attempt, status=Status.RUNNING)
    mine.update(status=status, finished_at=max(clock.now(), row.started_at), **{**progress, **fields})
    row.refresh_from_db()
    return row


def _short_traceback(error: BaseException) -> str:
    return "".join(
        traceback.format_exception(type(error), error, error.__traceback__, limit=-TRACEBACK_FRAMES)
    )[-4_000:]
