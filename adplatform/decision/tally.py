"""How often each line item could have been shown, and what became of it: exact counts that cost a request microseconds.

An **opportunity** of a line item is a placement that was asked and whose format, size and currency fit at least one of
its ads. It has one outcome: `won`, or the reason that stopped the ad of it that came furthest (the ranked before the
others, then the order of `NoAd`). So the outcomes of a line item add up to its opportunities, however many ads it has.

Each reason arrives as a bitmap over the candidates. Counting bit by bit would cost a loop over all of them; instead each
reason keeps vertical counters: level k holds bitmaps that count 2^k, and three of a level become one of it and one of the
next by a full adder, five operations on whole bitmaps (carry-save addition: Harley, Seal). Numbers are read off only when
`take` is called, by unpacking the few bitmaps that are left.

Ads of a line item must stand side by side in the candidate list, as a snapshot has them; then "any of its ads" is one
addition: the carry out of its lower rows arrives in its last one.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from .bitmaps import bits_of
from .candidates import CandidateSet
from .reasons import NoAd
from .types import IntArray, Outcome, Refused

WON = "won"
NOT_ASKED = frozenset({NoAd.WRONG_FORMAT, NoAd.CURRENCY})  # the placement did not ask for such an ad
OUTCOMES: tuple[str, ...] = (*(reason.value for reason in NoAd), WON)

_CODE = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_CODES = len(OUTCOMES)
_WON = _CODE[WON]
_BATCH = 16  # decisions that wait to be counted together: an adder works best on many
_MOST_PAGES = 48  # hours and sources that are open at once: more only when the past is replayed


@dataclass(frozen=True, slots=True)
class Counted:
    """Outcomes of line items in one hour: `counts` has a row per line item and a column per outcome."""

    hour: datetime
    source: str
    outcomes: tuple[str, ...]
    line_item: IntArray
    campaign: IntArray
    advertiser: IntArray
    counts: IntArray

    def __len__(self) -> int:
        return len(self.line_item)


class Planes:
    """How often each bit was set in the bitmaps that were added."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[list[int]] = []

    def add(self, bitmaps: Sequence[int]) -> None:
        level, carried = 0, list(bitmaps)
        while carried:
            if level == len(self._levels):
                self._levels.append([])
            held = self._levels[level] + carried
            carried = []
            total = held[0]
            for place in range(1, len(held) - 1, 2):
                one, other = held[place], held[place + 1]
                either = total ^ one
                carried.append(total & one | either & other)
                total = either ^ other
            self._levels[level] = [total] if len(held) % 2 else [total, held[-1]]
            level += 1

    def counts(self, size: int) -> IntArray:
        total = np.zeros(size, np.int64)
        for level, held in enumerate(self._levels):
            for bits in held:
                raw = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
                total += np.unpackbits(raw, count=size, bitorder="little").astype(np.int64) << level
        return total


class LineItems:
    """The line items of a candidate list: which rows are theirs. `last` has one row of each, in order."""

    def __init__(self, fixed: CandidateSet) -> None:
        self.fixed = fixed
        is_last = np.append(fixed.line_item_id[1:] != fixed.line_item_id[:-1], True)[: len(fixed)]
        self.last: IntArray = np.flatnonzero(is_last)
        self.of_row: IntArray = np.cumsum(is_last) - is_last
        self.everybody = (1 << len(fixed)) - 1
        self.lower = 0 if len(self.last) == len(fixed) else bits_of(~is_last)

    def __len__(self) -> int:
        return len(self.last)

    def any_of(self, bits: int) -> int:
        """Bit of the last row of each line item: whether a bit of any of its rows is set. Its other rows mean nothing."""
        return ((bits & self.lower) + self.lower) | bits


class Tally:
    """Counts the outcomes of decisions by line item, hour and source. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line_items: LineItems | None = None
        self._waiting: list[tuple[Sequence[Outcome], CandidateSet, datetime, str]] = []
        self._pages: dict[tuple[int, str], _Page] = {}
        self._closed: list[_Page] = []

    def prepare(self, fixed: CandidateSet) -> None:
        """Look at the line items of a new candidate list before the first decision over it."""
        line_items = LineItems(fixed)
        with self._lock:
            self._count()
            self._close()
            self._line_items = line_items

    def add(self, outcomes: Sequence[Outcome], fixed: CandidateSet, *, at: datetime, source: str) -> None:
        """Count what became of the placements of one decision over this candidate list."""
        with self._lock:
            self._waiting.append((outcomes, fixed, at, source))
            if len(self._waiting) >= _BATCH:
                self._count()

    def take(self) -> list[Counted]:
        """All that was counted since the last time, and begin anew."""
        with self._lock:
            self._count()
            self._close()
            closed, self._closed = self._closed, []
        # Without the lock: adding up a large market takes longer than a request may wait.
        return [counted for page in closed if len(counted := page.counted())]

    def _count(self) -> None:
        waiting, self._waiting = self._waiting, []
        by_page: dict[_Page, list[Outcome]] = defaultdict(list)
        for outcomes, fixed, at, source in waiting:
            by_page[self._page(fixed, at, source)] += outcomes
        for page, asked in by_page.items():
            page.count(asked)

    def _page(self, fixed: CandidateSet, at: datetime, source: str) -> _Page:
        key = (int(at.timestamp()) // 3_600, source)
        page = self._pages.get(key)
        if page is not None and page.line_items.fixed is fixed:
            return page
        if page is not None or len(self._pages) >= _MOST_PAGES:
            self._close()
        if self._line_items is None or self._line_items.fixed is not fixed:
            self._line_items = LineItems(fixed)
        hour = at.replace(minute=0, second=0, microsecond=0)
        page = self._pages[key] = _Page(self._line_items, hour, source)
        return page

    def _close(self) -> None:
        self._closed += self._pages.values()
        self._pages.clear()


class _Page:
    """The counts of one hour and source over one candidate list."""

    def __init__(self, line_items: LineItems, hour: datetime, source: str) -> None:
        self.line_items, self.hour, self.source = line_items, hour, source
        self._planes: dict[NoAd, Planes] = defaultdict(Planes)
        self._late: list[IntArray] = []  # line item · _CODES + outcome, one number for each that was ranked

    def count(self, outcomes: Iterable[Outcome]) -> None:
        bitmaps: dict[NoAd, list[int]] = defaultdict(list)
        late: list[tuple[IntArray, int, int]] = []
        for number, outcome in enumerate(outcomes):
            if outcome.placement.slot is None:
                continue
            stopped: list[Refused] = []
            for refused in outcome.refused:
                if refused.rows is None:
                    stopped.append(refused)
                else:
                    late.append((refused.rows, _CODE[refused.reason], number))
            self._sort(stopped, bitmaps)
            if outcome.picks:
                late.append((np.array([pick.row for pick in outcome.picks]), _WON, number))
        for reason, held in bitmaps.items():
            self._planes[reason].add(held)
        if late:
            self._late.append(self._furthest(late))

    def _sort(self, stopped: Sequence[Refused], bitmaps: dict[NoAd, list[int]]) -> None:
        """Who was not ranked: a line item meets the reason that stops the last of its ads."""
        if not self.line_items.lower:  # all have one ad: its reason is theirs
            for one in stopped:
                if one.reason not in NOT_ASKED:
                    bitmaps[one.reason].append(one.bits)
            return
        alive, any_of = self.line_items.everybody, self.line_items.any_of
        for one in stopped:
            if one.reason in NOT_ASKED:
                alive ^= one.bits
        before = any_of(alive)
        for one in stopped:
            if one.reason not in NOT_ASKED:
                alive ^= one.bits
                after = any_of(alive)
                bitmaps[one.reason].append(before ^ after)
                before = after

    def _furthest(self, late: Sequence[tuple[IntArray, int, int]]) -> IntArray:
        """The outcome of each line item with ranked ads, once per decision: the latest of its ads'."""
        sizes = [len(rows) for rows, _, _ in late]
        of = self.line_items.of_row[np.concatenate([rows for rows, _, _ in late])]
        keys: IntArray = of * _CODES + np.repeat([code for _, code, _ in late], sizes)
        if not self.line_items.lower:
            return keys
        span = len(self.line_items) * _CODES
        keys = np.sort(keys + span * np.repeat([number for _, _, number in late], sizes))
        is_best = np.append(keys[1:] // _CODES != keys[:-1] // _CODES, True)
        best: IntArray = keys[is_best] % span
        return best

    def counted(self) -> Counted:
        line_items, size = self.line_items, len(self.line_items.fixed)
        columns = {
            _CODE[reason]: planes.counts(size)[line_items.last] for reason, planes in self._planes.items()
        }
        if self._late:
            keys, counts = np.unique(np.concatenate(self._late), return_counts=True)
            for code in np.flatnonzero(np.bincount(keys % _CODES)).tolist():
                here = keys % _CODES == code
                column = columns.setdefault(code, np.zeros(len(line_items), np.int64))
                column[keys[here] // _CODES] += counts[here]
        codes = sorted(columns)
        table = np.stack([columns[code] for code in codes], axis=1) if codes else np.zeros((0, 0), np.int64)
        met = np.flatnonzero(table.any(axis=1))
        ads = line_items.last[met]
        return Counted(
            hour=self.hour,
            source=self.source,
            outcomes=tuple(OUTCOMES[code] for code in codes),
            line_item=line_items.fixed.line_item_id[ads],
            campaign=line_items.fixed.campaign_id[ads],
            advertiser=line_items.fixed.advertiser_id[ads],
            counts=table[met],
        )
