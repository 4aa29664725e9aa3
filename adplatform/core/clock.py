"""The one place where the platform reads the time; called in views, tasks and commands only."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, UTC and aware."""
    return datetime.now(UTC)
