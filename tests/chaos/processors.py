"""How long the machine let the ads process stand in the queue of its processors, and the readers' clock not tick.

Linux counts for every thread how long it was ready and no processor was free (`schedstat`). That time is the machine's;
whatever else a request waits for (a lock, a server, another thread at work) is the platform's own. Of threads that wait at
the same moment the longest wait counts once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

Span = tuple[float, float]  # of time.monotonic

LOOK_SECONDS = 0.02
_THREADS_SECONDS = 0.5  # until threads that began since are looked for


class Waits:
    """Follows the threads of `worker()`, whichever process that is by then, from `start` to `stop`."""

    def __init__(self, worker: Callable[[], int]) -> None:
        self.spans: list[Span] = []
        self._worker = worker
        self._files: dict[str, int] = {}  # by path
        self._waited: dict[str, int] = {}  # nanoseconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Waits:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._close(set(self._files))

    def _run(self) -> None:
        find_at = 0.0
        while not self._stop.wait(LOOK_SECONDS):
            if time.monotonic() >= find_at:
                find_at = time.monotonic() + _THREADS_SECONDS
                self._find()
            if longest := max(map(self._newly_waited, list(self._files)), default=0):
                now = time.monotonic()
                # A wait is counted when it ends.
                self.spans.append((now - longest / 1e9, now))

    def _find(self) -> None:
        paths: set[str] = set()
        with suppress(Exception):  # it is being started, or is gone
            paths = {str(path / "schedstat") for path in Path(f"/proc/{self._worker()}/task").iterdir()}
        self._close(self._files.keys() - paths)
        for path in paths - self._files.keys():
            with suppress(OSError):
                self._files[path] = os.open(path, os.O_RDONLY)
                self._newly_waited(path)

    def _close(self, paths: Iterable[str]) -> None:
        for path in paths:
            os.close(self._files.pop(path))
            self._waited.pop(path, None)

    def _newly_waited(self, path: str) -> int:
        try:
            waited = int(os.pread(self._files[path], 64, 0).split()[1])
        except (OSError, IndexError):  # the thread ended
            return 0
        before, self._waited[path] = self._waited.get(path, waited), waited
        return waited - before


def covered(spans: Iterable[Span], since: float, until: float) -> float:
    """Seconds of this time in which at least one of the spans lies."""
    total, reached = 0.0, since
    for begin, end in sorted(spans):
        first, last = max(begin, reached), min(end, until)
        if last > first:
            total += last - first
            reached = last
    return total
