"""Stretches of a few seconds, by which what serving expects to be charged meets what ingest has charged. No Django here."""

from __future__ import annotations

STRETCH_MILLISECONDS = 5_000
REMEMBERED_SECONDS = (
    60.0  # for which a budget's row tells what was charged by stretch; what is older is over for leases
)


def stretch_of(seconds: float) -> int:
    """The start of the stretch in which something was served, in milliseconds since 1970."""
    return int(seconds * 1000) // STRETCH_MILLISECONDS * STRETCH_MILLISECONDS
