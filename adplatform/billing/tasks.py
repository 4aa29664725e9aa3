"""The hourly settlement."""

from __future__ import annotations

from datetime import datetime

from adplatform.billing import services
from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "settle",
    title="Settle",
    description="Moves what billable events cost from advertisers to publishers and the platform, hour by hour.",
)
def settle(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    # Once a day everything is looked at: hours that were closed long ago cost a scan of all statistics.
    done = services.settle(at=at, dry_run=dry_run, everything=slot.hour == 0)
    counts = {"postings": done.postings, "hours": done.hours, "short": done.short}
    return Outcome(
        done.words, counts | {f"micros_{currency}": micros for currency, micros in done.micros.items()}
    )
