"""From the stream to PostgreSQL: read a batch, store it in one transaction, only then acknowledge it.

A crash between commit and acknowledgement delivers the batch again, and the second time it changes nothing. What a
dead consumer left is claimed. A record that cannot be read or stored goes to the dead-letter stream with its error,
and the others of its batch are stored without it. `adplatform.serving.pipeline.drain` binds what lies above events
(the books, the live counters) and is what commands, tests and the demo call.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import redis
from django.db import DataError, IntegrityError

from adplatform.campaigns.budgets import Granted
from adplatform.core import clock
from adplatform.core.line import packed

from . import dead_letters
from .facts import Fact
from .records import Record, pack, unpack
from .store import Stored, store
from .stream import FIELD, STREAM

log = logging.getLogger(__name__)

GROUP = "ingest"
BATCH = 10_000  # at most: the deeper the backlog, the fewer rows are added to and the fewer statements run per event
_PIECE = 2_500  # Valkey answers nobody else while it hands out, or takes back, as many
_CLAIM_AFTER_MILLISECONDS = 30_000

AfterCommit = Callable[[Sequence[Fact]], None]
# What the database, or a column on its way there, refuses in a record.
_UNSTORABLE = (DataError, IntegrityError, KeyError, ValueError, OverflowError)


def drain(
    client: redis.Redis,
    *,
    granted: Granted,
    after_commit: AfterCommit | None = None,
    at: datetime | None = None,
    limit: int = BATCH,
    consumer: str = "ingest",
    block_milliseconds: int | None = None,
) -> int:
    """Carry up to `limit` entries over; returns how many left the stream. `at`: the moment, where not now.

    `block_milliseconds`: how long to wait for entries where there are none; None does not wait.
    """
    raw = _read(client, consumer, limit, block_milliseconds)
    if not raw:
        return 0
    with _uncollected():
        records = _unpack(client, raw)
        stored = _store(client, records, granted=granted, at=at or clock.now())
    if after_commit is not None and (facts := [fact for part in stored for fact in part.facts()]):
        after_commit(facts)
    _acknowledge(client, [entry_id for entry_id, _ in raw])
    return len(raw)


@contextmanager
def _uncollected() -> Iterator[None]:
    """A batch makes many objects and no cycles: looking for cycles among them again and again costs a fifth of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def prepare(client: redis.Redis) -> None:
    """Make the consumer group, which starts at the stream's beginning."""
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def backlog(client: redis.Redis) -> int:
    """Entries that are not carried over yet."""
    return int(client.xlen(STREAM))


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(client: redis.Redis, consumer: str, limit: int, block: int | None) -> list[tuple[bytes, bytes]]:
    """What this consumer left unacknowledged, then what a dead one left, then what is new."""
    try:
        return (
            _own(client, consumer, limit)
            or _claimed(client, consumer, min(limit, _PIECE))
            or _fresh(client, consumer, limit, block)
        )
    except redis.ResponseError as error:
        if "NOGROUP" not in str(error):
            raise
    prepare(client)
    return _fresh(client, consumer, limit, block)


def _own(client: redis.Redis, consumer: str, limit: int) -> list[tuple[bytes, bytes]]:
    return _in_pieces(
        limit, lambda room, found: _group(client, consumer, room, (), found[-1][0] if found else b"0")
    )


def _fresh(client: redis.Redis, consumer: str, limit: int, block: int | None) -> list[tuple[bytes, bytes]]:
    waiting = () if block is None else ("BLOCK", str(block))
    return _in_pieces(
        limit, lambda room, found: _group(client, consumer, room, () if found else waiting, b">")
    )


def _in_pieces(
    limit: int, read: Callable[[int, Sequence[tuple[bytes, bytes]]], Sequence[tuple[bytes, bytes]]]
) -> list[tuple[bytes, bytes]]:
    """Until `limit` are read or there are no more; `read` takes how many, and what was read so far."""
    found: list[tuple[bytes, bytes]] = []
    while room := min(_PIECE, limit - len(found)):
        piece = read(room, found)
        found += piece
        if len(piece) < room:
            break
    return found


def _claimed(client: redis.Redis, consumer: str, limit: int) -> list[tuple[bytes, bytes]]:
    idle = str(_CLAIM_AFTER_MILLISECONDS)
    (reply,) = _ask(client, ("XAUTOCLAIM", STREAM, GROUP, consumer, idle, "0-0", "COUNT", str(limit)))
    return _fields(reply[1])


def _group(
    client: redis.Redis, consumer: str, limit: int, block: tuple[str, ...], after: bytes
) -> list[tuple[bytes, bytes]]:
    command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", str(limit), *block, "STREAMS", STREAM, after)
    (reply,) = _ask(client, command)
    if not reply:
        return []
    # A pair per stream where the connection speaks RESP2, a mapping where it speaks RESP3.
    entries = reply[0][1] if isinstance(reply, list) else next(iter(reply.values()))
    return _fields(entries)


def _fields(entries: Any) -> list[tuple[bytes, bytes]]:
    """(id, packed) of each entry; one that was deleted meanwhile has no fields and gives b''."""
    return [(entry_id, fields[fields.index(FIELD) + 1] if fields else b"") for entry_id, fields in entries]


def _ask(client: redis.Redis, *commands: tuple[object, ...]) -> list[Any]:
    """The bare replies: redis-py's own commands and parsing of streams cost as much as storing an event."""
    connection: Any = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([packed(*commands)])
        return [connection.read_response() for _ in commands]
    except BaseException:
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)


def _unpack(client: redis.Redis, raw: Sequence[tuple[bytes, bytes]]) -> list[Record]:
    packed = [
        record for _, record in raw if record
    ]  # one without was deleted after another consumer stored it
    try:
        return list(map(unpack, packed))
    except msgspec.DecodeError:
        return [record for one in packed for record in _readable(client, one)]


def _readable(client: redis.Redis, packed: bytes) -> list[Record]:
    try:
        return [unpack(packed)]
    except msgspec.DecodeError as error:
        _bury(client, packed, f"cannot be read: {error}")
        return []


# --- storing ----------------------------------------------------------------------------------------------------------


def _store(client: redis.Redis, records: Sequence[Record], *, granted: Granted, at: datetime) -> list[Stored]:
    """Store a batch; where the database refuses its data, halve it until the culprit stands alone."""
    if not records:
        return []
    try:
        return [store(records, granted=granted, at=at)]
    except _UNSTORABLE as error:
        if len(records) == 1:
            _bury(client, pack(records[0]), f"cannot be stored: {error}")
            return []
    middle = len(records) // 2
    first = _store(client, records[:middle], granted=granted, at=at)
    return first + _store(client, records[middle:], granted=granted, at=at)


def _bury(client: redis.Redis, record: bytes, error: str) -> None:
    log.error("an event goes to the dead letters: %s", error)
    dead_letters.bury(client, record, error)


def _acknowledge(client: redis.Redis, ids: Sequence[bytes]) -> None:
    """Each piece in one transaction. Should Valkey not answer, what is left comes again and changes nothing."""
    for start in range(0, len(ids), _PIECE):
        piece = ids[start : start + _PIECE]
        *_, done = _ask(
            client, ("MULTI",), ("XACK", STREAM, GROUP, *piece), ("XDEL", STREAM, *piece), ("EXEC",)
        )
        for answer in done:
            if isinstance(answer, Exception):
                raise answer
