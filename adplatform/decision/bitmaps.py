"""The rules of `eligibility` over a fixed list of candidates at once: bit i of a Python integer stands for candidate i, so
that a rule over 10,000 candidates is one AND. A property test holds both equal."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from . import targeting
from .eligibility import attributes_of, fitting
from .types import (
    ALL_HOURS,
    AdRequest,
    BoolArray,
    Candidate,
    CapScope,
    IntArray,
    NoAd,
    Refused,
    Rule,
    Seen,
    Slot,
    Taken,
)

Verdict = tuple[NoAd, int]

_START = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)


def bits_of(flags: BoolArray) -> int:
    """A bitmap from one flag per candidate."""
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def rows_of(bits: int, size: int) -> IntArray:
    """The candidates whose bit is set, ascending."""
    raw = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
    held = np.flatnonzero(raw)  # few of many: only bytes that hold something are unpacked
    found = np.flatnonzero(np.unpackbits(raw[held], bitorder="little"))
    rows: IntArray = held[found >> 3] * 8 + (found & 7)
    return rows


class Postings:
    """For each value, the candidates that hold it: a bitmap where it is common, rows where it is rare."""

    __slots__ = ("_entries", "_size")

    def __init__(self, rows: Mapping[Any, Sequence[int]], size: int) -> None:
        self._size = size
        self._entries: dict[Hashable, int | tuple[int, ...]] = {}
        for value, where in rows.items():
            # A row number costs about 8 bytes, a bitmap size/8.
            self._entries[value] = tuple(where) if 64 * len(where) < size else self._pack(where)

    def bits(self, values: Iterable[Hashable]) -> int:
        """Candidates that hold any of the values."""
        found = 0
        for value in values:
            entry = self._entries.get(value, 0)
            found |= entry if isinstance(entry, int) else self._pack(entry)
        return found

    def _pack(self, rows: Sequence[int]) -> int:
        if len(rows) < 8:
            packed = 0
            for row in rows:
                packed |= 1 << row
            return packed
        flags = np.zeros(self._size, np.bool_)
        flags[list(rows)] = True
        return bits_of(flags)

    @classmethod
    def of(cls, values_by_row: Iterable[Iterable[Hashable]], size: int) -> Postings:
        rows: dict[Hashable, list[int]] = defaultdict(list)
        for row, values in enumerate(values_by_row):
            for value in values:
                rows[value].append(row)
        return cls(rows, size)


class EligibilityIndex:
    """RULES over a fixed list of candidates. Building it costs some microseconds per candidate, asking it
    some hundred in all. `seen` and `taken` are looked up from their side: only what a visitor has seen or
    an answer holds is touched."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        size = self._size = len(candidates)
        self._everybody = (1 << size) - 1
        self._format = Postings.of(
            ((fitting(candidate.format, candidate.width, candidate.height),) for candidate in candidates),
            size,
        )
        self._currency = Postings.of(((candidate.currency,) for candidate in candidates), size)
        self._unapproved = self._flags(not candidate.is_approved for candidate in candidates)
        self._paused = self._flags(not candidate.is_running for candidate in candidates)
        self._flight = _Flights(candidates)
        self._creative = Postings.of(((candidate.creative_id,) for candidate in candidates), size)
        self._line_item = Postings.of(((candidate.line_item_id,) for candidate in candidates), size)
        self._advertiser = Postings.of(((candidate.advertiser_id,) for candidate in candidates), size)
        self._category = Postings.of(((candidate.category,) for candidate in candidates), size)
        self._domain = Postings.of(((candidate.landing_domain,) for candidate in candidates), size)
        self._attribute = Postings.of(map(attributes_of, candidates), size)
        rules = [
            [getattr(candidate.targeting, dimension.name) for candidate in candidates]
            for dimension in targeting.DIMENSIONS
        ]
        self._dimensions = [
            _DimensionIndex(column, dimension)
            for column, dimension in zip(rules, targeting.DIMENSIONS, strict=True)
        ]
        self._slots: dict[Slot, tuple[Verdict, ...]] = {}
        self._daypart = _Dayparts(candidates)
        self._caps = _Caps(candidates)

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
        known = self._slots.get(slot)
        if known is None:
            fits = self._format.bits((fitting(slot.format, slot.width, slot.height),))
            known = (
                (NoAd.WRONG_FORMAT, self._everybody & ~fits),
                (NoAd.CURRENCY, self._everybody & ~self._currency.bits((slot.currency,))),
                (NoAd.NOT_APPROVED, self._unapproved),
                (NoAd.PAUSED, self._paused),
                (NoAd.OUTSIDE_FLIGHT, 0),  # in its place among the rules; only the moment says who
                (NoAd.BLOCKED_BY_PUBLISHER, self._blocked(slot)),
            )
            _keep(self._slots, slot, known)
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

    @property
    def cap_keys(self) -> frozenset[tuple[str, int, int]]:
        """Every (scope, id, window_seconds) whose count some candidate asks for."""
        return self._caps.keys

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

    def _flags(self, flags: Iterable[bool]) -> int:
        return bits_of(np.fromiter(flags, np.bool_, self._size))


_FLIGHT = 4  # where the flight stands among the verdicts of a slot
_MOST_KEPT = 4_096


def _keep(kept: dict[Any, Any], key: Hashable, value: object) -> None:
    """A cache that is emptied when it is full: what is common is soon back."""
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[key] = value


class _DimensionIndex:
    """One dimension of targeting: who includes a value, who excludes it, who includes nothing."""

    __slots__ = ("_dimension", "_everybody", "_exclude", "_include", "_kept", "_open")

    def __init__(self, rules: Sequence[Rule], dimension: targeting.Dimension) -> None:
        size = len(rules)
        self._dimension = dimension
        self._everybody = (1 << size) - 1
        self._include = Postings.of((rule.include for rule in rules), size)
        self._exclude = Postings.of((rule.exclude for rule in rules), size)
        self._open = bits_of(np.fromiter((not rule.include for rule in rules), np.bool_, size))
        self._kept: dict[frozenset[Any], tuple[Verdict, Verdict]] = {}

    def verdicts(self, values: frozenset[Any]) -> tuple[Verdict, Verdict]:
        """Who excludes what is observed, and who misses what it includes."""
        known = self._kept.get(values)
        if known is None:
            missing = self._everybody & ~(self._open | self._include.bits(values))
            known = (
                (self._dimension.excluded, self._exclude.bits(values)),
                (self._dimension.missing, missing),
            )
            _keep(self._kept, values, known)
        return known


class _Flights:
    """Who is outside its flight. Between two borders the answer stays, so the last one is kept."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        starts = [(candidate.start_at or _START).timestamp() for candidate in candidates]
        ends = [(candidate.end_at or _END).timestamp() for candidate in candidates]
        self._starts, self._ends = np.array(starts, np.float64), np.array(ends, np.float64)
        self._borders = sorted({*starts, *ends})
        self._last = (-1, 0)

    def outside(self, at: datetime) -> int:
        now = at.timestamp()
        stretch = bisect_right(self._borders, now)
        last = self._last
        if last[0] != stretch:
            last = self._last = (stretch, bits_of((now < self._starts) | (now >= self._ends)))
        return last[1]


class _Dayparts:
    """Who is outside its hours. Zones differ from UTC by whole quarter hours and change on them, so the
    answer stays for a quarter of an hour, and the last one is kept."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        rows: dict[tuple[str, int], list[int]] = defaultdict(list)
        for row, candidate in enumerate(candidates):
            if candidate.targeting.daypart != ALL_HOURS:
                rows[candidate.time_zone, candidate.targeting.daypart].append(row)
        self._schedules = list(rows)
        self._postings = Postings(rows, len(candidates))
        self._last = (-1, 0)

    def outside(self, at: datetime) -> int:
        quarter = int(at.timestamp() // 900)
        last = self._last
        if last[0] != quarter:
            closed = [
                (name, hours)
                for name, hours in self._schedules
                if not hours >> targeting.hour_of_week(at, name) & 1
            ]
            last = self._last = (quarter, self._postings.bits(closed))
        return last[1]


class _Caps:
    """Who has reached a frequency cap, by whose impressions are counted."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        rows: dict[tuple[str, int, int, int], list[int]] = defaultdict(list)
        for row, candidate in enumerate(candidates):
            for cap in candidate.caps:
                key = (str(cap.scope), candidate.id_in(cap.scope), cap.window_seconds, cap.limit)
                rows[key].append(row)
        self._postings = Postings(rows, len(candidates))
        self._never = [key for key in rows if key[3] <= 0]
        self._limits: dict[tuple[str, int, int], list[int]] = defaultdict(list)
        for scope, id, window_seconds, limit in rows:
            self._limits[scope, id, window_seconds].append(limit)
        self._counted: dict[tuple[str, int], list[tuple[str, int, int]]] = defaultdict(list)
        for counter in self._limits:
            self._counted[counter[:2]].append(counter)

    @property
    def keys(self) -> frozenset[tuple[str, int, int]]:
        return frozenset(self._limits)

    def reached(self, seen: Seen, taken: Taken) -> int:
        full = list(self._never)
        limits_of = self._limits.get
        for key, count in seen.counts.items():
            for limit in limits_of(key, ()):
                if count >= limit:
                    full.append((*key, limit))
        for scope, id in {(scope, one.id_in(scope)) for one in taken.candidates for scope in _SCOPES}:
            here = taken.count(scope, id)
            for key in self._counted.get((scope, id), ()):
                count = seen.count(*key) + here
                full += [(*key, limit) for limit in self._limits[key] if count >= limit]
        return self._postings.bits(full)


_SCOPES = tuple(str(scope) for scope in CapScope)
