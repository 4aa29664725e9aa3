"""Acknowledged events that stand in no table yet: on the stream, in this machine's spool, among the dead letters.

What is copied here may stand in the dump as well: ingest counts nothing twice. Nothing else of the events Valkey is kept;
the keys under which addresses are hashed must be lost after their day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import redis
from django.conf import settings
from django.db import transaction

from adplatform.events import dead_letters, forgotten
from adplatform.events.records import Record, pack, unpack
from adplatform.events.spool import Spool
from adplatform.events.stream import FIELD, STREAM

PAGE = 1_000


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """A packed record; `error` of one that could not be stored."""

    record: bytes
    error: str = ""


def save(events: redis.Redis, path: Path) -> int:
    """Copy them, and return how many. Call it before the database is dumped: what leaves meanwhile is in the dump then.
    The spool first, since its records move on to the stream."""
    encoder, count = msgspec.json.Encoder(), 0
    with path.open("wb") as file:
        for one in _everything(events):
            file.write(encoder.encode(one) + b"\n")
            count += 1
    return count


def _everything(events: redis.Redis) -> Iterator[Waiting]:
    for record in Spool(settings.VAR / "spool").waiting():
        yield Waiting(record)
    after = "-"
    while page := _page(events, after):
        yield from (Waiting(fields[FIELD]) for _, fields in page)
        after = f"({page[-1][0].decode()}"
    for letter in dead_letters.waiting(events):
        yield Waiting(letter.packed, letter.error or "it was not said")


def _page(events: redis.Redis, after: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    entries: Any = events.xrange(STREAM, min=after, count=PAGE)
    return list(entries)


def load(events: redis.Redis, path: Path) -> int:
    """Put them back, without visitors who were erased meanwhile; returns how many that are."""
    decoder, count = msgspec.json.Decoder(Waiting), 0
    with path.open("rb") as file:
        while waiting := [decoder.decode(line) for line in islice(file, PAGE)]:
            _put_back(events, waiting)
            count += len(waiting)
    return count


def _put_back(events: redis.Redis, waiting: Sequence[Waiting]) -> None:
    records = [_record(one) for one in waiting]
    with transaction.atomic():
        kept = iter(forgotten.without_erased([record for record in records if record is not None]))
    with events.pipeline(transaction=False) as pipe:
        for one, record in zip(waiting, records, strict=True):
            packed = one.record if record is None else pack(next(kept))
            if one.error:
                dead_letters.bury(pipe, packed, one.error)
            else:
                pipe.xadd(STREAM, {FIELD: packed})
        pipe.execute()


def _record(one: Waiting) -> Record | None:
    try:
        return unpack(one.record)
    except msgspec.DecodeError:
        return None
