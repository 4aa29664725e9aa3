"""Records that ingest could not store: kept in a stream of their own with their error, until somebody sends them again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis
from django.conf import settings

from .records import unpack
from .stream import FIELD, STREAM, connect

DEAD_LETTERS = "events:dead"
LONGEST = 1_000  # letters of an error
_PAGE = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record with the error that it met. `words` is what could be read of it, for people."""

    entry_id: str
    at: datetime
    error: str
    packed: bytes

    @property
    def words(self) -> str:
        try:
            return repr(unpack(self.packed))
        except msgspec.DecodeError:
            return f"{len(self.packed)} bytes that are no record: {self.packed[:40].hex()}"


def bury(client: redis.Redis, packed: bytes, error: str) -> None:
    client.xadd(DEAD_LETTERS, {FIELD: packed, b"error": error.encode()[:LONGEST]})


def count(client: redis.Redis | None = None) -> int:
    """How many wait; 0 also where the events Valkey does not answer."""
    try:
        return (client or connect(settings.EVENTS_URL)).xlen(DEAD_LETTERS)
    except (redis.RedisError, OSError):
        return 0


def waiting(client: redis.Redis) -> Iterator[DeadLetter]:
    """All of them, oldest first."""
    after = "-"
    while page := _page(client, after):
        yield from page
        after = f"({page[-1].entry_id}"


def replay(client: redis.Redis, ids: Collection[str] = ()) -> int:
    """Send them (all, where no ids are given) to the stream again, each in one step with its removal here: what fails
    once more comes back with its new error."""
    sent = 0
    for letter in list(waiting(client)):
        if ids and letter.entry_id not in ids:
            continue
        with client.pipeline(transaction=True) as pipe:
            pipe.xadd(STREAM, {FIELD: letter.packed})
            pipe.xdel(DEAD_LETTERS, letter.entry_id)
            pipe.execute()
        sent += 1
    return sent


def _page(client: redis.Redis, after: str) -> list[DeadLetter]:
    entries: Any = client.xrange(DEAD_LETTERS, min=after, count=_PAGE)
    return [
        DeadLetter(
            entry_id=entry_id.decode(),
            at=datetime.fromtimestamp(int(entry_id.split(b"-")[0]) / 1000, UTC),
            error=fields.get(b"error", b"").decode(errors="replace"),
            packed=fields.get(FIELD, b""),
        )
        for entry_id, fields in entries
    ]
