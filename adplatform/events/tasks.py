"""The scheduled roll-up of hours into days."""

from __future__ import annotations

from datetime import datetime

from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "rollup",
    title="Add hours up to days",
    description="Rebuilds the daily statistics of every day whose hours changed.",
)
def rollup(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from . import rollups

    days = rollups.stale_days()
    rows = 0
    for done, day in enumerate(days, start=1):
        rows += 0 if dry_run else rollups.rebuild(day)
        progress(done, len(days))
    if not days:
        return Outcome("Every day already equals its hours.", {"days": 0, "rows": 0})
    verb = "Would rebuild" if dry_run else "Rebuilt"
    return Outcome(f"{verb} {len(days)} days, {days[0]} to {days[-1]}.", {"days": len(days), "rows": rows})
