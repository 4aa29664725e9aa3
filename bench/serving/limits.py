"""What each stage would cost at best here and now: the least work it cannot do without, measured in the same run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import hiredis
import msgspec
import numpy as np
import redis

from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.events.records import pack
from adplatform.learning.hidden import hide_key
from adplatform.learning.statistics import visitor_key
from adplatform.serving import decide, parse
from adplatform.serving.counters import cap_key
from adplatform.serving.server import Server
from ml.ctr.features import NAMES

from .stages import AGENT

VERDICTS = 20  # ANDs of bitmaps that the rules of one request come to
SIGNATURES = 4


def measure(question: bytes, *, hot: redis.Redis, server: Server, first_stage_bytes: int) -> dict[str, float]:
    """µs of CPU by stage name."""
    held = server.snapshot
    assert held is not None
    rng = np.random.default_rng(1)
    size = len(held.candidates)
    bitmaps = [int.from_bytes(rng.bytes(size // 8 + 1), "little") for _ in range(VERDICTS)]
    X = rng.normal(size=(50, len(NAMES))).astype(np.float32)
    body = msgspec.json.decode(question)
    at = clock.now()
    asked = parse.read(question, AGENT, held, scopes=None, at=at, request_id="0" * 32)
    answered = decide.answer(asked.request, snapshot=held, statistics=server.statistics, rng=server._rng)
    rendered = decide.as_json(answered, snapshot=held, base_url="http://localhost")
    row = np.zeros(max(first_stage_bytes // 4, 1), np.float32)
    ones = np.ones_like(row)
    limits = {
        "parse": fastest(lambda: (msgspec.json.decode(question), pseudonym(body["user"]["id"]))),
        "valkey": _bare_trip(hot, body["user"]["id"]),
        "eligible: rules as bitmaps": fastest(lambda: _and(bitmaps)),
        "first stage": fastest(lambda: row @ ones),
        "score: features": fastest(lambda: np.empty((50, len(NAMES)), np.float32).fill(0.0)),
        "explore and choose": fastest(lambda: np.exp(rng.normal(size=(50, 64))).argmax(axis=0)),
        "sign and render": fastest(lambda: _signed(rendered)),
        "record": fastest(lambda: [pack(record) for record in answered.records]),
    }
    if held.models.blender is not None:
        limits["score: trees"] = fastest(lambda: held.models.blender.predict(X))
    return limits


def fastest(work: Callable[[], Any], *, times: int = 300) -> float:
    """The tenth percentile of CPU µs: what others on this machine do to its caches is not the limit's."""
    work()
    took = []
    for _ in range(times):
        started = time.thread_time_ns()
        work()
        took.append((time.thread_time_ns() - started) / 1000)
    return float(np.percentile(took, 10))


def _and(bitmaps: list[int]) -> int:
    left = bitmaps[0]
    for bits in bitmaps[1:]:
        left &= bits
    return left


def _signed(rendered: Any) -> bytes:
    for _ in range(SIGNATURES):
        hashlib.blake2b(b"x" * 150, digest_size=16, key=b"key").digest()
    return json.dumps(rendered).encode() if rendered is None else msgspec.json.encode(rendered)


def _bare_trip(hot: redis.Redis, reader: str) -> float:
    """The three hashes of a reader over a bare socket, parsed by hiredis."""
    name = pseudonym(reader)
    keys = (visitor_key(name), cap_key(name), hide_key(name))
    asked = b"".join(hiredis.pack_command(("HGETALL", key)) for key in keys)
    connection = hot.connection_pool.get_connection()
    connection.connect()
    socket = connection._sock

    def trip() -> None:
        reader = hiredis.Reader()
        socket.sendall(asked)
        left = len(keys)
        while left:
            answer = reader.gets()
            if answer is False:
                reader.feed(socket.recv(65_536))
            else:
                left -= 1

    try:
        return fastest(trip)
    finally:
        connection.disconnect()
