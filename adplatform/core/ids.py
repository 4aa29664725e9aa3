"""Identifiers that leave the platform: decision ids that sort by time, and short public ids.

Chance comes in as `draw` (bytes wanted -> bytes), os.urandom unless a test or a replay says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Draw = Callable[[int], bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No vowels and no look-alikes (0/o, 1/l/i): ids spell no words and survive being read aloud.
_ALPHABET = "23456789bcdfghjkmnpqrstvwxyz"
_ALPHABET_SIZE = len(_ALPHABET)


def decision_id(at: datetime, draw: Draw = os.urandom) -> str:
    """128 bits as 32 hex digits: 48 of milliseconds since 1970 and 80 of chance.

    Ids of later milliseconds sort later, so that an index over them grows at one end.
    """
    milliseconds = (at - _EPOCH) // timedelta(milliseconds=1)
    return f"{milliseconds:012x}{draw(10).hex()}"


def decided_at(decision_id: str) -> datetime:
    """The millisecond in which a decision id was made."""
    return _EPOCH + timedelta(milliseconds=int(decision_id[:12], 16))


def public_id(prefix: str, draw: Draw = os.urandom) -> str:
    """A name for the outside such as 'slot_8kq2m4d7x9tf': 12 characters, 57 bits of chance."""
    number = int.from_bytes(draw(8), "big")
    letters = []
    for _ in range(12):
        number, position = divmod(number, _ALPHABET_SIZE)
        letters.append(_ALPHABET[position])
    return f"{prefix}_{''.join(letters)}"
