"""What would happen to a request now, and why, without any effect: nothing is recorded, counted, held or spent.

The same call that answers visitors (`decide.answer`, with source "test") over the snapshot and the statistics that serve.
A worker's or operator's side. No Django here.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

import redis

from adplatform import settings
from adplatform.decision.eligibility import RULES
from adplatform.decision.reasons import NoAd
from adplatform.decision.types import AdRequest, Candidate, Outcome, Seen, Slot, TableRow, Taken
from adplatform.events.stream import connect
from adplatform.learning.statistics import LiveStatistics

from . import process
from .counters import Known, Visitors, seen_from
from .decide import NOBODY, Answer, answer
from .parse import read
from .snapshot import Snapshot, SnapshotHolder

_TRIP_SECONDS = 0.25  # an operator waits longer than a visitor


class NothingPublishedError(Exception):
    """There is no snapshot to decide over."""


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule says of one ad, whatever the rules before it said."""

    reason: NoAd
    refuses: bool


@dataclass(frozen=True)
class Tried:
    """The answer, the moment that each stage took (milliseconds), and what was known of the visitor."""

    request: AdRequest
    answer: Answer
    snapshot: Snapshot
    stages: Mapping[str, float]
    seen: Seen = field(default_factory=Seen)

    def outcome(self, placement_id: str) -> Outcome:
        decision = self.answer.decision
        outcomes = decision.outcomes if decision is not None else ()
        return next(one for one in outcomes if one.placement.id == placement_id)

    def table(self, placement_id: str) -> Sequence[TableRow]:
        decision = self.answer.decision
        return [row for row in decision.table if row.placement_id == placement_id] if decision else []

    def verdicts(self, slot: Slot, candidate: Candidate) -> list[RuleVerdict]:
        """Every rule about one ad, in their order, as if nothing stood in the answer yet."""
        return [
            RuleVerdict(reason, refuses(self.request, slot, candidate, self.seen, Taken()))
            for reason, refuses in RULES
        ]


class Trials:
    """Keeps the newest snapshot and statistics for those who try requests in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = SnapshotHolder(settings.SNAPSHOT_DIR)
        self._statistics = LiveStatistics()

    def attempt(self, body: bytes, *, at: datetime) -> Tried:
        """Decide this body of POST /v1/decisions at a moment; MalformedError where it cannot be read."""
        stages: dict[str, float] = {}
        with self._lock:
            started = time.perf_counter()
            snapshot, statistics = self._loaded()
            stages["snapshot"] = _since(started)
            started = time.perf_counter()
            asked = read(body, {}, snapshot, scopes=("explain",), at=at, request_id=uuid.uuid4().hex)
            request = replace(asked.request, explain=True, test=True)
            stages["parse"] = _since(started)
            started = time.perf_counter()
            known = _known(request.visitor)
            stages["visitor"] = _since(started)
            started = time.perf_counter()
            answered = answer(
                request,
                snapshot=snapshot,
                statistics=statistics,
                rng=Random(),
                known=known,
                source="test",
                evidence=asked.evidence,
            )
            stages["decide"] = _since(started)
        seen = seen_from(known, at)[0] if known is not None and request.visitor else Seen()
        return Tried(request, answered, snapshot, stages, seen)

    def _loaded(self) -> tuple[Snapshot, LiveStatistics]:
        """Those that this process serves from, where it does; else its own."""
        server = process.started()
        if server is not None and server.snapshot is not None:
            return server.snapshot, server.statistics
        self._holder.poll()
        snapshot = self._holder.current
        if snapshot is None:
            raise NothingPublishedError
        with suppress(redis.RedisError, OSError):  # what was read before, or nothing: a trial works without
            self._statistics.refresh(connect(settings.REDIS_URL, timeout_seconds=1.0))
        snapshot.prepare(self._statistics.view)
        return snapshot, self._statistics


def _known(visitor: str | None) -> Known | None:
    if not visitor:
        return NOBODY
    return Visitors(connect(settings.REDIS_URL, timeout_seconds=_TRIP_SECONDS)).read(visitor)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1_000
