"""Pacing, every five minutes."""

from __future__ import annotations

from datetime import datetime

from adplatform.bidding import services
from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "repace",
    title="Repace",
    description="Moves how fast each campaign spends, so that its budget lasts as long as its traffic.",
)
def repace(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    done = services.repace(at=at, dry_run=dry_run)
    return Outcome(
        done.words, {"campaigns": len(done.changes), "slowed": done.slowed, "sped_up": done.sped_up}
    )
