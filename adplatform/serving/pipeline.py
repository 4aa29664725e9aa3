"""Ingest with everything bound that lies above events: the books that limit charges, the counters that models read.

A worker's side: never imported by a web process.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import redis

from adplatform.billing import queries as billing
from adplatform.core import clock
from adplatform.events import ingest
from adplatform.events.facts import Fact
from adplatform.learning import feedback, live


def drain(
    events: redis.Redis,
    hot: redis.Redis | None,
    *,
    at: datetime | None = None,
    limit: int = ingest.BATCH,
    consumer: str = "ingest",
    block_milliseconds: int | None = None,
) -> int:
    """Carry up to `limit` entries of the stream into PostgreSQL, then into the live counters of `hot` (None: leave
    those); returns how many left the stream, 0 when it is empty."""

    def count(facts: Sequence[Fact]) -> None:
        if hot is not None:
            live.apply(hot, facts)
            feedback.apply(hot, facts)

    began_at = at or clock.now()
    carried = ingest.drain(
        events,
        granted=billing.granted,
        after_commit=count,
        at=at,
        limit=limit,
        consumer=consumer,
        block_milliseconds=block_milliseconds,
    )
    if hot is not None and carried < limit:  # the stream was read to its end
        live.withdraw_when_due(hot)
        live.note_until(hot, began_at)
    return carried


def drain_all(events: redis.Redis, hot: redis.Redis | None, *, at: datetime | None = None) -> int:
    """Until the stream is empty; returns how many entries were carried over."""
    total = 0
    while count := drain(events, hot, at=at):
        total += count
    return total
