"""On whose behalf a Celery task works: said where the task is defined, and seen to before its first line.

A task says `acts_for=ActsFor.PLATFORM` and runs as the worker's role across organisations, or `ActsFor.ORGANISATION` and
gets `organisation=` (a primary key) with its message: then it runs inside that organisation's walls, in one transaction.
One that says neither is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from celery import Task

from adplatform.core.tenants import tenant, working
from adplatform.jobs.registry import JobError


class ActsFor(StrEnum):
    PLATFORM = "platform"
    ORGANISATION = "organisation"


class UndecidedError(JobError):
    """A task that does not say for whom it works."""


@dataclass(frozen=True, slots=True)
class _Named:
    """An organisation as a message names it."""

    pk: int


class ActingTask(Task):  # type: ignore[misc]
    """The base of every task of the application (celery.py)."""

    abstract = True
    acts_for: ActsFor | None = None

    def __call__(self, *args: Any, **given: Any) -> Any:
        with self._walls(given):
            return super().__call__(*args, **given)

    def _walls(self, given: dict[str, Any]) -> AbstractContextManager[None]:
        organisation = given.get("organisation")
        if self.acts_for == ActsFor.PLATFORM:
            return working()
        if self.acts_for == ActsFor.ORGANISATION and isinstance(organisation, int):
            return _working_for(_Named(organisation))
        raise UndecidedError(f"The task {self.name!r} does not say for whom it works.")


@contextmanager
def _working_for(organisation: _Named) -> Iterator[None]:
    """Its doors, if it has any, lead to the worker's role."""
    with working(), tenant(organisation):
        yield
