"""A job that tests can look into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from adplatform.celery import app
from adplatform.jobs.registry import JOBS, Outcome, Progress, job

NAME = "counted"


@dataclass
class Counted:
    """The slots it ran for, whether it shall fail, and what it wrote."""

    name: str = NAME
    slots: list[datetime] = field(default_factory=list)
    error: BaseException | None = None

    def __call__(self, *, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
        progress(1, 2)
        from tests import factories  # models: only once Django is set up

        self.slots.append(slot)
        factories.organisation(name=f"made by {NAME}")  # in a dry run too: it must be taken back
        if self.error:
            raise self.error
        return Outcome(f"Counted {len(self.slots)}.", {"runs": len(self.slots)})


@pytest.fixture
def counted() -> Iterator[Counted]:
    function = Counted()
    job(NAME, title="Counted", queue="events", description="Counts its runs.")(function)
    yield function
    del JOBS[NAME]
    app.tasks.pop(NAME, None)
