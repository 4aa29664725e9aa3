"""Carries events from the stream into PostgreSQL, until it is told to stop."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from adplatform.core import clock
from adplatform.events import ingest
from adplatform.events.stream import connect
from adplatform.learning import live
from adplatform.serving import cap_history, pipeline

WAIT_MILLISECONDS = 200
REST_SECONDS = 1.0


class Command(BaseCommand):
    help = "Store events from the stream: facts, charges, statistics. Stops cleanly on SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="end when the stream is empty")
        parser.add_argument("--consumer", default=f"{socket.gethostname()}-{os.getpid()}")

    def handle(self, *_: Any, **options: Any) -> None:
        stopping = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stopping.set())
        events = connect(settings.EVENTS_URL, timeout_seconds=5.0)
        hot = connect(settings.REDIS_URL, timeout_seconds=5.0)
        ingest.prepare(events) if options["once"] else None
        total = 0
        while not stopping.is_set():
            self._prepare(hot)
            count = self._round(events, hot, options["consumer"], stopping)
            total += count
            if options["once"] and not count:
                break
        self.stdout.write(f"stored {total} events")

    def _prepare(self, hot: redis.Redis) -> None:
        """Counters that mean something else, or were lost a moment ago, are recomputed before anything is added."""
        try:
            at = clock.now()
            if live.prepare(hot, at):
                cap_history.rebuild(hot, at=at)
                self.stdout.write("the live counters were recomputed from the facts")
        except (redis.RedisError, OSError) as error:
            self.stderr.write(f"the live counters cannot be checked: {error}")

    def _round(self, events: redis.Redis, hot: redis.Redis, consumer: str, stopping: threading.Event) -> int:
        """One batch. A server that is away is waited for; nothing is acknowledged meanwhile."""
        try:
            return pipeline.drain(events, hot, consumer=consumer, block_milliseconds=WAIT_MILLISECONDS)
        except (redis.RedisError, DatabaseError, OSError) as error:
            self.stderr.write(f"ingest waits: {error}")
            if connection.connection is not None:
                connection.close_if_unusable_or_obsolete()
            close_old_connections()
            stopping.wait(REST_SECONDS)
            return 0
