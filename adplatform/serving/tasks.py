"""The scheduled rebuild of the snapshot. Edits do not wait for it: see the `publisher` command."""

from __future__ import annotations

from datetime import datetime

from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "snapshot",
    title="Build the snapshot",
    description="Reads what may serve now and hands it to every serving process.",
    limit_seconds=300,
)
def snapshot(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from . import publish

    contents = publish.preview(at=at) if dry_run else publish.publish(at=at)
    counts = {"ads": contents.ads, "slots": len(contents.slots), "api_keys": len(contents.keys)}
    verb = "Would publish" if dry_run else "Published"
    return Outcome(f"{verb} {counts['ads']} ads for {counts['slots']} slots as {contents.version}.", counts)
