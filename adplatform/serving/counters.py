"""What serving knows of a visitor, in one Valkey trip: the profile and counts that workers wrote, and frequency caps.

Caps are checked on reading and counted on impression, in fixed windows: `cap:{pseudonym}` holds the fields
`{scope}:{id}:{window_seconds}:{bucket}`, where bucket is the moment divided by the window. Counting happens in a
background thread, so that an impression needs no second trip; fields of past windows are dropped on the way.
No Django here.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import redis

from adplatform.core.line import Line, packed
from adplatform.decision.types import Candidate, Seen
from adplatform.decision.variety import Counter
from adplatform.learning.hidden import hidden_from, hide_key
from adplatform.learning.statistics import visitor_key

log = logging.getLogger(__name__)

TRIP_SECONDS = 0.01
_REST_SECONDS = 1.0  # after a failed trip, how long nobody waits for Valkey
_LONGEST_SECONDS = 90 * 86_400
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


@lru_cache(maxsize=100_000)  # fields name ads and windows, not visitors: the same ones come again and again
def _parsed(name: bytes) -> tuple[tuple[str, int, int], int]:
    """((scope, id, window), bucket) of a field."""
    scope, id, window, bucket = name.split(b":")
    return (scope.decode(), int(id), int(window)), int(bucket)


def seen_from(known: Known, at: datetime) -> tuple[Seen, list[bytes]]:
    """Impressions within the present windows and what is hidden, and the fields of windows that have passed."""
    seconds = int(at.timestamp())
    counts: dict[tuple[str, int, int], int] = {}
    past: list[bytes] = []
    for name, value in known.caps.items():
        key, bucket = _parsed(name)
        present = seconds // key[2]
        if bucket == present:
            counts[key] = int(value)
        elif bucket < present:
            past.append(name)
    return Seen(counts, *hidden_from(known.hidden, seconds)) if known.hidden else Seen(counts), past


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
    """Impressions on their way to the caps; `flush` is called by the background thread, or by whoever replays."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._waiting: deque[tuple[str, list[bytes], list[bytes]]] = deque(maxlen=100_000)
        self._counted: OrderedDict[bytes, None] = OrderedDict()

    def count(
        self,
        decision_id: bytes,
        visitor: bytes,
        candidate: Candidate,
        at: datetime,
        also: tuple[Counter, ...] = (),
    ) -> None:
        """Note an impression, once per decision; without a visitor, or caps and counters `also` to raise, there is
        nothing to count."""
        if not visitor or not (candidate.caps or also) or decision_id in self._counted:
            return
        self._counted[decision_id] = None
        if len(self._counted) > _REMEMBERED:
            self._counted.popitem(last=False)
        self._waiting.append((visitor.hex(), fields_of(candidate, at, also), []))

    def forget(self, pseudonym: str, past: list[bytes]) -> None:
        """Drop the fields of windows that have passed."""
        if past:
            self._waiting.append((pseudonym, [], past))

    def flush(self) -> None:
        """Write what waits, in one trip. What cannot be written is given up: a cap is no money."""
        items = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not items:
            return
        with self._client.pipeline(transaction=False) as pipe:
            for pseudonym, raised, past in items:
                _write(pipe, cap_key(pseudonym), raised, past)
            pipe.execute()


def _write(pipe: Any, key: str, raised: Iterable[bytes], past: list[bytes]) -> None:
    for name in raised:
        pipe.hincrby(key, name, 1)
        pipe.expire(key, min(2 * int(name.split(b":")[2]), _LONGEST_SECONDS), gt=True)
        pipe.expire(key, min(2 * int(name.split(b":")[2]), _LONGEST_SECONDS), nx=True)
    if past:
        pipe.hdel(key, *past)
