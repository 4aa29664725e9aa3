"""Who is decided for now, who waits a moment, and who hears at once that there is no ad: a full house sheds.

Two decisions work at once (more would only take turns at the interpreter), a few wait, and whoever could not be
answered soon gets a no-ad in some 50 µs instead. Events pass by this door: an impression is worth more than a
decision. How long one would wait is the number of those who wait × how long a decision took lately / two.
No Django here.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue

AT_ONCE = 2
LONGEST_WAIT_SECONDS = 0.05
MOST_WAITING = 16  # half of the threads (core.processes.ADS_THREADS): the others answer events, and say no
_REMEMBERED = 1 / 16  # weight of the newest decision in how long one takes


class Admission:
    """The door that decisions go through: `enter`, and `leave` where that was True."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(at_once):
            self._places.put(None)
        self._at_once = at_once
        self._lock = threading.Lock()
        self.waiting = 0
        self.mean_seconds = 0.0

    def enter(self) -> bool:
        """Whether a place was free, or became free soon enough."""
        if not self.waiting:  # nobody is overtaken
            try:
                self._places.get_nowait()
            except Empty:
                pass
            else:
                return True
        return self._wait()

    def leave(self, seconds: float) -> None:
        """Give the place back after a decision that took so long."""
        self.mean_seconds += _REMEMBERED * (seconds - self.mean_seconds)
        self._places.put(None)

    def _wait(self) -> bool:
        with self._lock:
            expected = (self.waiting + 1) * self.mean_seconds / self._at_once
            if self.waiting >= MOST_WAITING or expected > LONGEST_WAIT_SECONDS:
                return False
            self.waiting += 1
        try:
            self._places.get(timeout=LONGEST_WAIT_SECONDS)
        except Empty:
            return False
        finally:
            with self._lock:
                self.waiting -= 1
        return True
