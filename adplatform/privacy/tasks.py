"""Scheduled privacy work."""

from __future__ import annotations

from datetime import datetime

from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "retention",
    title="Forget what is old",
    description="Empties and deletes personal data that reached its age, and forgets again who was erased before.",
)
def retention(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from adplatform.privacy import retention as rules

    found = rules.enforce(at=at, dry_run=dry_run)
    counts = {"rows": sum(one.rows for one in found), **{one.rule: one.rows for one in found}}
    if not found:
        return Outcome("Nothing is older than it may be.", counts)
    verb = "Would clear" if dry_run else "Cleared"
    return Outcome(f"{verb} {', '.join(f'{one.rows:,} {one.words}' for one in found)}.", counts)
