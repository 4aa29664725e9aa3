"""What serving knows of a visitor, in one Valkey trip: the profile and counts that workers wrote, and frequency caps.

Caps are checked on reading and counted on impression, in fixed windows of UTC: `cap:{pseudonym}` holds the fields

    {scope}:{id}:{window_seconds}:{bucket}   impressions; bucket is the moment divided by the window
    h:{until}:{decision}                     a hold: an ad was served that may still render until then, and these caps
                                             ({scope}:{id}:{window_seconds}, divided by spaces) count it meanwhile

A served ad is held for `HOLD_SECONDS`; its impression turns the hold into counts. Both are written by a background
thread every 50 ms, so neither a decision nor an impression needs a second trip, and this process sees its own holds at
once. So a cap can be passed only by requests of one visitor that are decided at the same moment, or within 50 ms by
different processes. No Django here.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import redis

from adplatform.core.line import Line, packed
from adplatform.decision.types import Candidate, Seen
from adplatform.decision.variety import Counter
from adplatform.events.records import Served
from adplatform.learning.hidden import hidden_from, hide_key
from adplatform.learning.statistics import visitor_key

log = logging.getLogger(__name__)

TRIP_SECONDS = 0.01
_REST_SECONDS = 1.0  # after a failed trip, how long nobody waits for Valkey
_LONGEST_SECONDS = 90 * 86_400
HOLD_SECONDS = 30  # in which an ad that is going to render has rendered
_HOLD = b"h:"
_REMEMBERED = 50_000  # decisions whose impression this process counted, so that a repeated gif counts once

Fields = Mapping[bytes, bytes]


def cap_key(pseudonym: str) -> str:
    """The hash that holds a visitor's impressions by cap."""
    return f"cap:{pseudonym}"


def cap_field(scope: str, id: int, window_seconds: int, at: datetime) -> bytes:
    return f"{scope}:{id}:{window_seconds}:{int(at.timestamp()) // window_seconds}".encode()


def fields_of(candidate: Candidate, at: datetime, also: Iterable[Counter] = ()) -> list[bytes]:
    """The fields that an impression of this candidate raises, each once; `also` beside those of its caps."""
    caps = [(cap.scope, candidate.id_in(cap.scope), cap.window_seconds) for cap in candidate.caps]
    return [cap_field(*one, at) for one in dict.fromkeys([*caps, *also])]


def window_of(field: bytes) -> int:
    """The window that a cap's field counts in, seconds."""
    return _parsed(field)[0][2]


def seconds_kept(fields: Iterable[bytes]) -> int:
    """How long a visitor's counters stay after the last one was raised."""
    return min(2 * max(map(window_of, fields)), _LONGEST_SECONDS)


def hold_field(decision_id: bytes, served_at: datetime) -> bytes:
    """The field of a served ad that has not rendered yet."""
    return b"%s%d:%s" % (_HOLD, int(served_at.timestamp()) + HOLD_SECONDS, decision_id.hex().encode())


@lru_cache(maxsize=100_000)  # fields name ads and windows, not visitors: the same ones come again and again
def _parsed(name: bytes) -> tuple[tuple[str, int, int], int]:
    """((scope, id, window), bucket) of a field."""
    scope, id, window, bucket = name.split(b":")
    return (scope.decode(), int(id), int(window)), int(bucket)


def seen_from(known: Known, at: datetime) -> tuple[Seen, list[bytes]]:
    """Impressions within the present windows with what is held, what is hidden, and the fields that have passed."""
    seconds = int(at.timestamp())
    counts: dict[tuple[str, int, int], int] = {}
    past: list[bytes] = []
    holds: list[bytes] = []
    for name, value in known.caps.items():
        if name.startswith(_HOLD):
            is_held = seconds < int(name.split(b":")[1])
            (holds.append(value) if is_held else past.append(name))
            continue
        key, bucket = _parsed(name)
        present = seconds // key[2]
        if bucket == present:
            counts[key] = int(value)
        elif bucket < present:
            past.append(name)
    for value in holds:
        for held in _held(value):
            counts[held] = counts.get(held, 0) + 1
    return Seen(counts, *hidden_from(known.hidden, seconds)) if known.hidden else Seen(counts), past


@lru_cache(maxsize=10_000)  # the same for every hold of an ad
def _held(value: bytes) -> tuple[tuple[str, int, int], ...]:
    """(scope, id, window) of each cap that a hold counts for."""
    return tuple(_parsed(cap + b":0")[0] for cap in value.split())


@dataclass(frozen=True, slots=True)
class Known:
    """What one trip brought."""

    visitor: Fields
    caps: Fields
    hidden: Fields = field(default_factory=dict)


class Visitors:
    """Reads visitors from the hot Valkey, and gives up quickly when it does not answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._line = Line(client)
        self._rest_until = 0.0
        self.failures = 0

    def read(self, pseudonym: str) -> Known | None:
        """Everything in one trip of at most `TRIP_SECONDS`; None where Valkey is away: serve by context alone."""
        if time.monotonic() < self._rest_until:
            return None
        try:
            keys = (visitor_key(pseudonym), cap_key(pseudonym), hide_key(pseudonym))
            answers = self._line.ask(packed(*(("HGETALL", key) for key in keys)), len(keys))
        except (redis.RedisError, OSError) as error:
            self.failures += 1
            self._rest_until = time.monotonic() + _REST_SECONDS
            log.warning("Valkey does not answer, serving by context: %s", error)
            return None
        return Known(*map(_as_mapping, answers))


def _as_mapping(answer: Any) -> Fields:
    """A hash as RESP 3 gives it, or the flat list of RESP 2."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


class CapCounter:
    """Holds and impressions on their way to the caps; `flush` is called by the background thread, or by whoever replays."""

    def __init__(self, client: redis.Redis) -> None:
        self._line = Line(client)
        self._waiting: deque[_Change] = deque(maxlen=100_000)
        self._counted: OrderedDict[bytes, None] = OrderedDict()
        self._unwritten: dict[str, dict[bytes, bytes]] = {}  # holds by pseudonym, until they are written

    def hold(self, served: Served, candidate: Candidate) -> None:
        """Let a served ad count for its caps until it renders or the time for that is over."""
        if not served.visitor or not candidate.caps:
            return
        caps = " ".join(
            f"{cap.scope}:{candidate.id_in(cap.scope)}:{cap.window_seconds}" for cap in candidate.caps
        )
        change = _Change(served.visitor.hex())
        change.held[hold_field(served.decision_id, served.served_at)] = caps.encode()
        self._unwritten.setdefault(change.pseudonym, {}).update(change.held)
        self._waiting.append(change)

    def count(
        self, served: Served, candidate: Candidate, at: datetime, also: tuple[Counter, ...] = ()
    ) -> None:
        """Note an impression, once per decision; without a visitor, or caps and counters `also` to raise, there is
        nothing to count."""
        if not served.visitor or not (candidate.caps or also) or served.decision_id in self._counted:
            return
        self._counted[served.decision_id] = None
        if len(self._counted) > _REMEMBERED:
            self._counted.popitem(last=False)
        change = _Change(served.visitor.hex(), raised=fields_of(candidate, at, also))
        if candidate.caps:
            change.dropped.append(hold_field(served.decision_id, served.served_at))
        self._waiting.append(change)

    def forget(self, pseudonym: str, past: list[bytes]) -> None:
        """Drop the fields of windows and holds that have passed."""
        if past:
            self._waiting.append(_Change(pseudonym, dropped=past))

    def with_unwritten(self, pseudonym: str, known: Known | None) -> Known | None:
        """What is known of a visitor, with the holds of this process that are not in Valkey yet."""
        unwritten = self._unwritten.get(pseudonym)
        if not unwritten or known is None:
            return known
        return replace(known, caps={**known.caps, **unwritten})

    def flush(self) -> None:
        """Write what waits, in one trip. What cannot be written is given up: a cap is no money."""
        changes = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not changes:
            return
        commands = [command for change in changes for command in change.commands()]
        try:
            self._line.ask(packed(*commands), len(commands))
        finally:
            for change in changes:
                self._written(change)

    def _written(self, change: _Change) -> None:
        unwritten = self._unwritten.get(change.pseudonym)
        if unwritten is None:
            return
        for name in change.held:
            unwritten.pop(name, None)
        if not unwritten:
            self._unwritten.pop(change.pseudonym, None)


@dataclass(slots=True)
class _Change:
    """Of one visitor's caps: counters to raise, holds to write, fields to drop."""

    pseudonym: str
    raised: list[bytes] = field(default_factory=list)
    held: dict[bytes, bytes] = field(default_factory=dict)
    dropped: list[bytes] = field(default_factory=list)

    def commands(self) -> Iterator[tuple[Any, ...]]:
        key = cap_key(self.pseudonym)
        for name in self.raised:
            yield ("HINCRBY", key, name, 1)
        if self.raised:
            seconds = seconds_kept(self.raised)
            yield ("EXPIRE", key, seconds, "GT")
            yield ("EXPIRE", key, seconds, "NX")
        for name, caps in self.held.items():
            yield ("HSET", key, name, caps)
            yield ("EXPIRE", key, 2 * HOLD_SECONDS, "NX")
        if self.dropped:
            yield ("HDEL", key, *self.dropped)
