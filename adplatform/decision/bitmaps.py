"""The rules of `eligibility` over a fixed list of candidates at once: bit i of a Python integer stands for candidate i, so
that a rule over 10,000 candidates is one AND. A property test holds both equal."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from . import indexing, targeting
from .columns import Columns, Packed, microseconds
from .eligibility import fitting
from .indexing import SCOPES, counter_key, excluded, included

# Bitmaps belong to this vocabulary: they may be imported from here.
from .postings import KEPT_VALUES, Arrays, Holders, Kept, Postings, RowsBy, bitmaps_kept, bits_at, from_packed
from .postings import bits_of as bits_of  # noqa: PLC0414
from .postings import held_by as held_by  # noqa: PLC0414
from .postings import rows_of as rows_of  # noqa: PLC0414
from .types import AdRequest, Candidate, IntArray, NoAd, Refused, Seen, Slot, Taken

Verdict = tuple[NoAd, int]


class EligibilityIndex:
    """RULES over a fixed list of candidates, or over their columns. `seen` and `taken` are looked up from their side: only what a visitor has
    seen or an answer holds is touched. `arrays` are `indexing.index_of` the columns, made here where they are not given:
    a snapshot brings them."""

    def __init__(self, candidates: Sequence[Candidate] | Columns, arrays: Arrays | None = None) -> None:
        columns = candidates if isinstance(candidates, Columns) else Columns.of(candidates)
        arrays = indexing.index_of(columns) if arrays is None else arrays
        size = self._size = len(columns)
        self._everybody = (1 << size) - 1
        postings = Postings(arrays, size)
        self._format, self._currency = Holders(postings, "format"), Holders(postings, "currency")
        self._category, self._domain = Holders(postings, "category"), Holders(postings, "domain")
        self._attribute = Holders(postings, "attribute")
        self._unapproved = bits_of(~columns.numbers["is_approved"])
        self._paused = bits_of(~columns.numbers["is_running"])
        self._flight = _Flights(columns)
        self.rows_by = {name: _rows_by(arrays, name) for name in indexing.IDS}
        self._creative, self._line_item = self.rows_by["creative_id"], self.rows_by["line_item_id"]
        self._advertiser = self.rows_by["advertiser_id"]
        self._dimensions = [
            _DimensionIndex(postings, dimension, from_packed(arrays["open"][number]))
            for number, dimension in enumerate(targeting.DIMENSIONS)
        ]
        self._slots = Kept(bitmaps_kept(size))
        self._misfits = Kept(bitmaps_kept(size))
        self._daypart = _Dayparts(arrays, size)
        self._caps = _Caps(arrays, size)

    def eligible(self, request: AdRequest, slot: Slot, seen: Seen, taken: Taken) -> tuple[int, list[Refused]]:
        """Bitmap of the candidates that no rule refuses (but for the budget, which is live), and who was
        refused by which rule first."""
        return self.sieve((*self.static(request, slot), *self.personal(slot, seen, taken)))

    def sieve(self, verdicts: Iterable[Verdict]) -> tuple[int, list[Refused]]:
        """Apply rules in order: each refuses only who is still there."""
        alive = self._everybody
        refused: dict[NoAd, int] = {}
        for reason, bits in verdicts:
            if hit := alive & bits:
                refused[reason] = refused.get(reason, 0) | hit
                alive &= ~bits
        return alive, [Refused(reason, bits.bit_count(), bits) for reason, bits in refused.items()]

    def static(self, request: AdRequest, slot: Slot) -> list[Verdict]:
        """What the request and slot alone refuse, in the order of RULES."""
        verdicts = [*self._of_slot(slot)]
        verdicts[_FLIGHT] = (NoAd.OUTSIDE_FLIGHT, self._flight.outside(request.at))
        for index, values in zip(self._dimensions, targeting.observed(request, slot), strict=True):
            verdicts += index.verdicts(values)
        verdicts.append((NoAd.OUTSIDE_DAYPART, self._daypart.outside(request.at)))
        return verdicts

    def _of_slot(self, slot: Slot) -> tuple[Verdict, ...]:
        """What a slot refuses, whatever is asked; kept, since a site asks again and again."""
        known: tuple[Verdict, ...] | None = self._slots.get(slot)
        if known is None:
            fit = fitting(slot.format, slot.width, slot.height)
            known = (
                (NoAd.WRONG_FORMAT, self._without(self._format, fit)),
                (NoAd.CURRENCY, self._without(self._currency, slot.currency)),
                (NoAd.NOT_APPROVED, self._unapproved),
                (NoAd.PAUSED, self._paused),
                (NoAd.OUTSIDE_FLIGHT, 0),  # in its place among the rules; only the moment says who
                (NoAd.BLOCKED_BY_PUBLISHER, self._blocked(slot)),
            )
            self._slots.keep(slot, known)
        return known

    def _without(self, holders: Holders, value: Any) -> int:
        """Who does not hold the value; one bitmap for all slots that ask for it."""
        known: int | None = self._misfits.get(value)
        if known is None:
            known = self._misfits.keep(value, self._everybody & ~holders.bits((value,)))
        return known

    def personal(self, slot: Slot, seen: Seen, taken: Taken) -> list[Verdict]:
        """What the visitor's past and the answer so far refuse, in the order of RULES."""
        verdicts = [
            (NoAd.VISITOR_HID, self._hidden(seen)),
            (NoAd.FREQUENCY_CAP, self._caps.reached(seen, taken)),
        ]
        if not taken.candidates:
            return verdicts
        advertisers = {candidate.advertiser_id for candidate in taken.candidates}
        full = [id for id in advertisers if taken.count("advertiser", id) >= slot.per_advertiser]
        shown = self._creative.bits(candidate.creative_id for candidate in taken.candidates)
        verdicts.append((NoAd.CREATIVE_ALREADY_SHOWN, shown))
        verdicts.append((NoAd.ADVERTISER_LIMIT, self._advertiser.bits(full)))
        verdicts.append((NoAd.COMPETING_ADVERTISER, self._competing(slot, taken, advertisers)))
        return verdicts

    def _competing(self, slot: Slot, taken: Taken, advertisers: Collection[int]) -> int:
        rivals = self._advertiser.bits(other for one, other in slot.rivals if one in advertisers)
        if not slot.separates_categories:
            return rivals
        for candidate in taken.candidates:
            if candidate.category:
                own = self._advertiser.bits((candidate.advertiser_id,))
                rivals |= self._category.bits((candidate.category,)) & ~own
        return rivals

    def _hidden(self, seen: Seen) -> int:
        return self._line_item.bits(seen.hidden_line_items) | self._advertiser.bits(seen.hidden_advertisers)

    def _blocked(self, slot: Slot) -> int:
        return (
            self._advertiser.bits(slot.blocked_advertisers)
            | self._category.bits(slot.blocked_categories)
            | self._domain.bits(slot.blocked_domains)
            | self._attribute.bits(slot.blocked_attributes)
        )


_FLIGHT = 4  # where the flight stands among the verdicts of a slot


def _rows_by(arrays: Arrays, name: str) -> RowsBy:
    return RowsBy(arrays[f"{name}.ids"], arrays[f"{name}.at"], arrays[f"{name}.rows"])


class _DimensionIndex:
    """One dimension of targeting: who includes a value, who excludes it, who includes nothing."""

    __slots__ = ("_closed", "_dimension", "_exclude", "_include", "_kept")

    def __init__(self, postings: Postings, dimension: targeting.Dimension, open: int) -> None:
        self._dimension = dimension
        self._include = Holders(postings, included(dimension.name))
        self._exclude = Holders(postings, excluded(dimension.name))
        self._closed = ((1 << postings.size) - 1) & ~open  # who includes something
        self._kept = Kept(bitmaps_kept(postings.size, each=2))

    def verdicts(self, values: frozenset[Any]) -> tuple[Verdict, Verdict]:
        """Who excludes what is observed, and who misses what it includes."""
        known: tuple[Verdict, Verdict] | None = self._kept.get(values)
        if known is None:
            met = self._include.bits(values)
            known = (
                (self._dimension.excluded, self._exclude.bits(values)),
                (self._dimension.missing, self._closed & ~met if met else self._closed),
            )
            self._kept.keep(values, known)
        return known


class _Flights:
    """Who is outside its flight. Between two borders the answer stays, so the last one is kept."""

    def __init__(self, columns: Columns) -> None:
        self._starts, self._ends = columns.numbers["start_at"], columns.numbers["end_at"]
        self._last = (1, 0, 0)  # from, until, bitmap

    def outside(self, at: datetime) -> int:
        now = microseconds(at)
        last = self._last
        if not last[0] <= now < last[1]:
            last = self._last = self._at(now)
        return last[2]

    def _at(self, now: int) -> tuple[int, int, int]:
        begun, ended = self._starts <= now, self._ends <= now
        past = (self._starts[begun], self._ends[ended])
        coming = (self._starts[~begun], self._ends[~ended])
        since = max((int(one.max()) for one in past if len(one)), default=now)
        until = min((int(one.min()) for one in coming if len(one)), default=now + 1)
        return since, until, bits_of(~begun | ended)


class _Dayparts:
    """Who is outside its hours. Zones differ from UTC by whole quarter hours and change on them, so the
    answer stays for a quarter of an hour, and the last one is kept."""

    def __init__(self, arrays: Arrays, size: int) -> None:
        self._size = size
        self._rows, self._masks = arrays["daypart.rows"], arrays["daypart.masks"]
        self._zones = arrays["daypart.zones"]
        self._names = [name.decode() for name in Packed(arrays["zones"], arrays["zones.at"])]
        self._last = (-1, 0)

    def outside(self, at: datetime) -> int:
        quarter = int(at.timestamp() // 900)
        last = self._last
        if last[0] != quarter:
            last = self._last = (quarter, self._closed(at))
        return last[1]

    def _closed(self, at: datetime) -> int:
        if not len(self._rows):
            return 0
        hours = np.array([targeting.hour_of_week(at, name) for name in self._names])[self._zones]
        here = self._masks[np.arange(len(hours)), hours >> 3] >> (hours & 7) & 1
        flags = np.zeros(self._size, np.bool_)
        flags[self._rows[here == 0]] = True
        return bits_of(flags)


class _Caps:
    """Who has reached a frequency cap, by whose impressions are counted: candidates lie in the order of the counter and
    of the limit that they ask for, so that those whom a count reaches are one range."""

    def __init__(self, arrays: Arrays, size: int) -> None:
        self._size = size
        self._keys, self._rows = arrays["caps.keys"], arrays["caps.rows"]
        self._windows = {seconds: number for number, seconds in enumerate(arrays["caps.windows"].tolist())}
        self._limits = arrays["caps.limits"]
        self._never = bits_at((arrays["caps.never"],), size)
        self._ranges = Kept(KEPT_VALUES)

    def reached(self, seen: Seen, taken: Taken) -> int:
        if not len(self._keys):
            return self._never
        reached: list[IntArray] = []
        known = self._ranges
        for counter, count in self._counted(seen, taken).items():
            found = known.get(counter)
            if found is None:
                found = known.keep(counter, self._range(counter))
            limits, rows = found
            if limits and limits[0] <= count:
                reached.append(rows[: bisect_right(limits, count)])
        return self._never | bits_at(reached, self._size) if reached else self._never

    def _range(self, counter: tuple[str, int, int]) -> tuple[list[int], IntArray]:
        """The limits that are asked for of a counter, from the lowest, and the row that asks for each."""
        scope, id, window_seconds = counter
        window, level = self._windows.get(window_seconds), _SCOPE.get(scope)
        if window is None or level is None:
            return [], self._rows[:0]
        first = counter_key(id, level, window)
        begin, end = np.searchsorted(self._keys, (first, first + len(self._limits))).tolist()
        return self._limits[self._keys[begin:end] - first].tolist(), self._rows[begin:end]

    def _counted(self, seen: Seen, taken: Taken) -> Mapping[tuple[str, int, int], int]:
        """Impressions by counter, what stands in the answer included."""
        if not taken.candidates:
            return seen.counts
        counts = dict(seen.counts)
        here = {(scope, one.id_in(scope)) for one in taken.candidates for scope in SCOPES}
        for scope, id in here:
            more = taken.count(scope, id)
            for window_seconds in self._windows:
                key = (scope, id, window_seconds)
                counts[key] = counts.get(key, 0) + more
        return counts


_SCOPE = {scope: number for number, scope in enumerate(SCOPES)}
