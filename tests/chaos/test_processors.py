"""What the chaos tests take off a request's time is what the machine made it wait, once."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from tests.chaos.processors import Waits, covered


def test_spans_that_overlap_count_once() -> None:
    spans = [(5.0, 9.0), (0.0, 2.0), (1.0, 3.0), (8.0, 20.0)]
    assert covered(spans, 0.5, 10.0) == pytest.approx(2.5 + 5.0)
    assert covered([], 0.5, 10.0) == 0.0


def _busy(seconds: float, processor: int) -> None:
    os.sched_setaffinity(0, {processor})
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_a_process_that_shares_its_processor_waits_for_its_turns() -> None:
    processor = min(os.sched_getaffinity(0))
    started = time.monotonic()
    rivals = [multiprocessing.Process(target=_busy, args=(1.0, processor)) for _ in range(2)]
    for one in rivals:
        one.start()
    waits = Waits(lambda: rivals[0].pid or 0).start()
    for one in rivals:
        one.join()
    waits.stop()
    assert covered(waits.spans, started, time.monotonic()) > 0.2  # about half of a second
