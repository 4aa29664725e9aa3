"""How long a decision may take, and what it goes without when time runs out.

    100 ms   the trees are left out: smoothed statistics and the text score answer (mode `text` or `prior`)
    200 ms   no ad (mode `late`)

Trees that took long (of CPU: a busy machine is not their fault) are left out of the next decisions too, for a second at first and for twice as long each time
they do it again: a request that waits for them cannot be interrupted. No Django here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

MODEL_SECONDS, LAST_SECONDS = 0.1, 0.2
SLOW_SECONDS = 0.05  # trees that take longer than this rest
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 30.0


class TooLateError(Exception):
    """Nobody waits for this answer any more."""


class ModelRest:
    """Whether the trees of this process rest, because they were slow."""

    def __init__(self) -> None:
        self.until = 0.0
        self.slow = 0  # how often they were
        self._seconds = FIRST_REST_SECONDS

    def took(self, seconds: float, now: float) -> None:
        """Learn how long the trees took for one placement."""
        if seconds > SLOW_SECONDS:
            self.slow += 1
            self.until = now + self._seconds
            self._seconds = min(2 * self._seconds, LONGEST_REST_SECONDS)
        elif self._seconds > FIRST_REST_SECONDS and now > self.until + self._seconds:
            self._seconds = FIRST_REST_SECONDS


@dataclass(slots=True)
class Deadline:
    """One request's (learning.scorer.Patience). `started`: moment of `time.perf_counter` at which it came in."""

    started: float
    rest: ModelRest
    began: float = 0.0  # of this thread's CPU clock

    def begin(self) -> bool:
        """Whether there is time for the trees; TooLateError where there is time for nothing."""
        now = time.perf_counter()
        self.began = time.thread_time()
        if now > self.started + LAST_SECONDS:
            raise TooLateError
        return now < self.started + MODEL_SECONDS and now >= self.rest.until

    def end(self) -> None:
        """The trees that `begin` allowed have answered."""
        self.rest.took(time.thread_time() - self.began, time.perf_counter())
