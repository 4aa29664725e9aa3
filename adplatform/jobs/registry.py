"""Every scheduled job by name. A job is a function in an app's `tasks.py`, marked with `@job`.

The decorator also makes the Celery task of the same name, which acts for the platform: a slot is worked through once, for
everybody. What is done for one organisation alone is a task of its own that says so (jobs.acting). A `tasks.py` imports heavy libraries (torch, lightgbm)
inside its functions: it is read by web processes and by a worker before it forks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from celery import shared_task


class Progress(Protocol):
    """Called by a job as it goes along; the console draws a bar from it."""

    def __call__(self, done: int, total: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: a sentence for people and counts for graphs."""

    words: str
    counts: Mapping[str, int] = field(default_factory=dict)


class JobFunction(Protocol):
    """`at` is the moment the run acts for, `slot` the moment its schedule names. A dry run says what would change."""

    def __call__(self, *, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class RegisteredJob:
    name: str
    title: str
    queue: str
    description: str
    function: JobFunction
    task: Any  # the Celery task of the same name


JOBS: dict[str, RegisteredJob] = {}


class JobError(Exception):
    """Root of what this package raises."""


class UnknownJobError(JobError):
    """No job has this name."""


def job(
    name: str, *, title: str, queue: str = "default", description: str = "", limit_seconds: int = 1_800
) -> Callable[[JobFunction], JobFunction]:
    """Register a job; its worker child is killed after `limit_seconds`. The function itself stays callable."""

    def register(function: JobFunction) -> JobFunction:
        if name in JOBS and JOBS[name].function is not function:
            raise ValueError(f"two jobs are called {name!r}")
        JOBS[name] = RegisteredJob(
            name, title, queue, description, function, _celery_task(name, limit_seconds)
        )
        return function

    return register


def discover() -> Mapping[str, RegisteredJob]:
    """Import the `tasks.py` of every app (Celery's own discovery) and return all jobs."""
    from adplatform.celery import app

    app.autodiscover_tasks(force=True)
    return dict(sorted(JOBS.items()))


def find(name: str) -> RegisteredJob:
    known = discover()
    if name not in known:
        raise UnknownJobError(f"There is no job called {name!r}; `manage.py jobs list` names them all.")
    return known[name]


def _celery_task(name: str, limit_seconds: int) -> Any:
    from adplatform.jobs.acting import ActsFor

    def task(
        *, slot: str | None = None, trigger: str = "schedule", requested_by: str = "", **_: object
    ) -> None:
        from adplatform.jobs import services

        services.run_task(name, slot=slot, trigger=trigger, requested_by=requested_by)

    limits = {"time_limit": limit_seconds, "soft_time_limit": max(1, limit_seconds - 30)}
    return shared_task(name=name, acts_for=ActsFor.PLATFORM, **limits)(task)
