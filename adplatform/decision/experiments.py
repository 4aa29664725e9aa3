"""Who belongs to which arm: the same person always to the same, with nothing stored.

A unit (a visitor's pseudonym, a campaign) and the experiment's key are hashed to a point in [0, 1); the
arms divide it by their shares. Other keys give independent points, so experiments may overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import chance
from .types import DecisionError

EVERYBODY_BP = 10_000


def point(key: str, unit: str) -> float:
    """The unit's place in [0, 1) for this key, uniform over units."""
    return chance.share(chance.word_of(key, unit))


def arm_of(key: str, unit: str, arms: Sequence[tuple[str, int]]) -> str | None:
    """The arm whose share (in basis points, in this order) holds the unit's point; None beyond their sum.

    An arm that grows at the end of the list moves nobody between the arms before it.
    """
    if any(share_bp < 0 for _, share_bp in arms) or sum(share_bp for _, share_bp in arms) > EVERYBODY_BP:
        raise DecisionError("The shares of an experiment's arms add up to at most 10,000 basis points.")
    place, end_bp = point(key, unit) * EVERYBODY_BP, 0
    for name, share_bp in arms:
        end_bp += share_bp
        if place < end_bp:
            return name
    return None


def is_held_out(key: str, unit: str, share_bp: int) -> bool:
    """Whether the unit sees no ads of what `key` names, so that lift can be measured against it."""
    return arm_of(f"holdout:{key}", unit, (("held_out", share_bp),)) is not None
