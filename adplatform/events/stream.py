"""The stream of events: what is appended here is durable, and `ingest` carries it into PostgreSQL.

The events Valkey syncs each write to its disk before it answers. When it does not answer in time the event goes to
the local spool; when that fails too the caller hears so and must not acknowledge. Decisions are different: they
wait in a buffer for the next flush (50 ms), so that a killed process loses at most that. No Django here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from adplatform.core.line import Line, packed

from .spool import Spool, SpoolFullError

log = logging.getLogger(__name__)

STREAM = "events"
FIELD = b"r"
FLUSH_SECONDS = 0.05
_REST_SECONDS = 0.5  # after a failure, how long events go straight to the spool
_BUFFER_LIMIT = 50_000  # decisions; beyond it the oldest are dropped and counted
_REPLAY_SECONDS = 1.0


class NotStoredError(Exception):
    """Neither the stream nor the spool took the event: do not acknowledge it."""


def connect(url: str, *, timeout_seconds: float = 0.1) -> redis.Redis:
    """A client that answers or fails in `timeout_seconds`, without trying again on its own."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


class EventStream:
    """Appends events durably, and decisions soon. `start()` runs the background thread; `close()` flushes."""

    def __init__(self, client: redis.Redis, spool: Spool, *, name: str = STREAM) -> None:
        self._client = client
        self._line = Line(client)
        self._spool = spool
        self._name = name
        self._rest_until = 0.0
        self._buffer: deque[bytes] = deque()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._replay_at = 0.0
        self.dropped = 0  # decisions that found the buffer full
        self.spooled = 0  # events that took the way over the local file

    # --- in a request -------------------------------------------------------------------------------------------------

    def append(self, event: bytes) -> None:
        """Durable when it returns; NotStoredError otherwise. An event that the line sends twice is ingested once."""
        if time.monotonic() >= self._rest_until:
            try:
                self._line.ask(packed(("XADD", self._name, "*", FIELD, event)), 1)
            except (redis.RedisError, OSError) as error:
                self._rest(error)
            else:
                return
        try:
            self._spool.append(event)
        except SpoolFullError as error:
            raise NotStoredError(str(error)) from error
        self.spooled += 1

    def append_soon(self, record: bytes) -> None:
        """Stored with the next flush."""
        if len(self._buffer) >= _BUFFER_LIMIT:
            self._buffer.popleft()
            self.dropped += 1
        self._buffer.append(record)

    # --- in bulk and in the background --------------------------------------------------------------------------------

    def append_many(self, records: Sequence[bytes]) -> None:
        """Durable when it returns; a Valkey error otherwise. One round trip. What the line sends twice is ingested once."""
        commands = packed(*(("XADD", self._name, "*", FIELD, record) for record in records))
        self._line.ask(commands, len(records))

    def flush(self) -> None:
        """Send what is buffered. What cannot be sent stays buffered."""
        while self._buffer:
            records = [self._buffer.popleft() for _ in range(min(len(self._buffer), 500))]
            try:
                self.append_many(records)
            except (redis.RedisError, OSError) as error:
                self._buffer.extendleft(reversed(records))
                self._rest(error)
                return

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="event-stream", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        self.flush()
        self._spool.close()

    def is_up(self) -> bool:
        """Whether the events Valkey answers now."""
        try:
            return bool(self._client.ping())
        except (redis.RedisError, OSError):
            return False

    @property
    def waiting(self) -> int:
        return len(self._buffer)

    @property
    def spool_bytes(self) -> int:
        return self._spool.size()

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                if time.monotonic() >= self._rest_until:
                    self.flush()
                    self._replay()
            except Exception:  # the thread outlives whatever happens to one flush
                log.exception("the event stream's background flush failed")

    def _replay(self) -> None:
        if time.monotonic() < self._replay_at or not self._spool.size():
            return
        self._replay_at = time.monotonic() + _REPLAY_SECONDS
        try:
            count = self._spool.replay(self.append_many)
        except (redis.RedisError, OSError) as error:
            self._rest(error)
        else:
            log.info("replayed %d spooled events", count)

    def _rest(self, error: Exception) -> None:
        if time.monotonic() >= self._rest_until:
            log.warning("the event stream does not answer, events go to the spool: %s", error)
        self._rest_until = time.monotonic() + _REST_SECONDS
