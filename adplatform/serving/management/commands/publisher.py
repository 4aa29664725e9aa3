"""Acts on what lower layers wrote into the outbox: an edit reaches the serving processes within a second. Beside that it
carries budgets to Valkey, from which these processes lease."""

from __future__ import annotations

import select
import signal
import threading
import time
from typing import Any

import psycopg2
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections

from adplatform.core import clock, outbox
from adplatform.serving import publish
from adplatform.serving.granting import run as run_granting

TOPICS = ("snapshot",)
POLL_SECONDS = 1.0
GATHER_SECONDS = 0.1  # edits that come together make one snapshot
MOST_CHANGES = 100_000  # that one snapshot answers, since it holds them all: as many as an import leaves


class Command(BaseCommand):
    help = "Rebuild the snapshot when something that serves was edited. Stops cleanly on SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="act on what waits now, then end")

    def handle(self, *_: Any, **options: Any) -> None:
        stopping = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stopping.set())
        if options["once"]:
            self.act()
            return
        granting = threading.Thread(target=run_granting, args=(stopping,), name="leases", daemon=True)
        granting.start()
        while not stopping.is_set():
            try:
                self._listen(stopping)
            except Exception as error:  # whatever failed is tried again; the process goes on
                self.stderr.write(f"publisher waits: {type(error).__name__}: {error}")
                close_old_connections()
                stopping.wait(POLL_SECONDS)
        granting.join(timeout=3)

    def act(self) -> int:
        """Publish if anything waits; returns how many rows that answered."""
        rows = outbox.waiting(topics=TOPICS, limit=MOST_CHANGES)
        if not rows:
            return 0
        try:
            contents = publish.publish(at=clock.now())
        except (DatabaseError, psycopg2.Error):
            raise
        except Exception:  # whatever keeps a snapshot from being built, the changes say that they wait
            outbox.failed(rows)
            raise
        outbox.done(rows, at=clock.now())
        self.stdout.write(f"{contents.version}: {contents.ads} ads, {len(rows)} changes")
        return len(rows)

    def _listen(self, stopping: threading.Event) -> None:
        """Wake on a notice, or after a second: a notice that was missed costs a second, not a change."""
        listener = connections.create_connection("default")
        try:
            listener.ensure_connection()
            listener.set_autocommit(True)
            with listener.cursor() as cursor:
                cursor.execute(f"LISTEN {outbox.CHANNEL}")
            raw: Any = listener.connection
            while not stopping.is_set():
                self.act()
                if select.select([raw], [], [], POLL_SECONDS)[0]:
                    raw.poll()
                    raw.notifies.clear()
                    time.sleep(GATHER_SECONDS)
        finally:
            listener.close()
