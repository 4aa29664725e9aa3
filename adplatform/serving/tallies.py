"""Sends what a process counted of its decisions to ingest: small reports, each of which is added exactly once.

A report is named by its process and a number, so that a stream that delivers it twice adds it once. What was counted
since the last report is lost with a killed process: at most the seconds of `due`. No Django here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import numpy as np

from adplatform.core import ids
from adplatform.decision.tally import Counted, Tally
from adplatform.events.records import Tallied, pack

FLUSH_SECONDS = 10.0
ROWS_A_SECOND = 1_000  # of a large market: rows that PostgreSQL is asked to add for one process
LINE_ITEMS = 500  # in one report


class TallyReports:
    """`append` takes packed records; `send` reports what a tally holds."""

    def __init__(self, append: Callable[[bytes], None], *, draw: ids.Draw = os.urandom) -> None:
        self._append = append
        self._process = draw(16)
        self._number = 0
        self._due_at = time.monotonic() + FLUSH_SECONDS

    def send_when_due(self, tally: Tally) -> None:
        if time.monotonic() >= self._due_at:
            rows = self.send(tally)
            self._due_at = time.monotonic() + max(FLUSH_SECONDS, rows / ROWS_A_SECOND)

    def send(self, tally: Tally) -> int:
        """Report all that was counted; returns how many rows."""
        rows = 0
        for counted in tally.take():
            rows += len(counted)
            for report in self._reports(counted):
                self._append(pack(report))
                time.sleep(0)  # requests go first: nobody waits for a whole market to be packed
        return rows

    def _reports(self, counted: Counted) -> Iterator[Tallied]:
        owners = (counted.line_item, counted.campaign, counted.advertiser)
        for start in range(0, len(counted), LINE_ITEMS):
            part = slice(start, start + LINE_ITEMS)
            table = np.column_stack([*(column[part] for column in owners), counted.counts[part]])
            number, self._number = self._number, self._number + 1
            yield Tallied(
                self._process, number, counted.hour, counted.source, list(counted.outcomes), table.tolist()
            )
