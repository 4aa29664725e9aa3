"""The job that looks after the other jobs."""

from __future__ import annotations

from datetime import datetime

from adplatform.jobs import sweeper
from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "sweep",
    title="Sweep",
    description="Ends runs whose process died, sends again what the queue lost, drops old rows of this list.",
)
def sweep(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    return sweeper.sweep(at=at, dry_run=dry_run)
