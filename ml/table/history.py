"""What was known about a user, an item and each category before a row: the table form of live statistics.

The same ideas as ml.ctr.counters (smoothed rates, residuals) for tables whose entities are just "user" and "item",
with more of them: recency, fading rates, the user's own history with this item and with this category, items
clicked by the same people, likeness of the text to what the user clicked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from ml.schema import Floats, Ints, Vectors
from ml.table.asof import Events, Past, fading_sums, spans
from ml.table.reading import Rows

REMEMBERED_CLICKS = 20
RESIDUAL_STRENGTH = 3.0
OVERALL_STRENGTH = 20.0
COMPANY_STRENGTH = 5.0
OVERALL_FADING = 0.999
FADING = {"user": 0.85, "item": 0.97}
FACTS = ("log_seen", "rate", "residual", "fading_rate", "fading_residual", "ago")
COSINES_AT_ONCE = 32_768
SLOTS = 1 << 22


@dataclass(frozen=True)
class Table:
    """What all views of a table share. `sets` holds, per category column, where each row's values begin, and all
    values one after the other; `base_rate` is that of the training rows."""

    rows: Rows
    vectors: Vectors | None
    sets: list[tuple[Ints, Ints]]
    base_rate: float

    @classmethod
    def of(cls, rows: Rows, vectors: Vectors | None) -> Table:
        """Of the rows as read."""
        train = ~rows.is_test & (rows.weight > 0)
        base = float(np.average(rows.rate[train], weights=rows.weight[train])) if train.any() else 0.5
        return cls(rows, vectors if rows.user is not None else None, [_flat(s) for s in rows.sets], base)

    @property
    def strength(self) -> float:
        """How many impressions at everybody's rate an entity starts with."""
        return min(200.0, max(5.0, 5 / math.sqrt(max(self.base_rate, 1e-6))))

    @property
    def entities(self) -> dict[str, Ints]:
        """The columns of users and items that there are."""
        return {name: key for name in FADING if (key := getattr(self.rows, name)) is not None}

    def names(self) -> list[str]:
        """Of the features, in order."""
        names = ["overall_recent", *(f"{name}_{fact}" for name in self.entities for fact in FACTS)]
        if len(self.entities) == 2:
            names += ["pair_seen", "pair_clicked", "pair_ago"]
            names += ["company_total", "company_largest", "company_size"]
        for name in self.rows.meaning.categorical:
            names += [f"{name}_log_seen", f"{name}_rate"]
            if self.rows.user is not None:
                names += [f"user_{name}_seen", f"user_{name}_residual"]
        if self.vectors is not None:
            names += ["likeness_mean", "likeness_largest", "likeness_newest"]
        return names


class History:
    """What rows know of `events`, rows whose outcome was known by then, in that order: row i of the first `cut[i]`."""

    def __init__(self, table: Table, events: Ints, wanted: Ints, cut: Ints) -> None:
        rows = table.rows
        self._table, self._events, self._wanted, self._cut = table, events, wanted, cut
        self._weight = rows.weight[events]
        self._clicked = rows.rate[events] * self._weight
        self._keys = table.entities
        self._of = {name: self._sorted(key[events]) for name, key in self._keys.items()}

    def features(self) -> list[Floats]:
        """A column per name of the table."""
        found = [self._recent_rate()]
        for name in self._keys:
            found += self._entity(name)
        if len(self._keys) == 2:
            found += [*self._pair(), *self._company()]
        for place in range(len(self._table.sets)):
            found += self._set(place)
        if self._table.vectors is not None:
            found += self._likeness(self._table.vectors)
        return found

    def _sorted(self, key: Ints) -> tuple[Events, Ints]:
        """(events of known entities, their numbers)."""
        number = np.flatnonzero(key >= 0)
        return Events.of(key[number], number, len(self._events) + 1), number

    def _recent_rate(self) -> Floats:
        # Out of fold, the other folds' rate is the higher, the lower a fold's own: as a feature it would give labels away.
        base = self._table.base_rate
        if self._table.rows.time is None:
            return np.full(len(self._wanted), base)
        kept = OVERALL_FADING**self._weight
        steps = np.append(base, (1 - kept) * self._table.rows.rate[self._events])
        return fading_sums(steps, np.append(1.0, kept))[self._cut]

    @cached_property
    def _overall(self) -> Floats:
        """Everybody's rate after so many events; out of fold always the base rate."""
        base, known = self._table.base_rate, len(self._events)
        if self._table.rows.time is None:
            return np.full(known + 1, base)
        everybody = Events.of(np.zeros(known, np.int64), np.arange(known), known + 1)
        clicked, seen = (np.append(0.0, everybody.sums(of)) for of in (self._clicked, self._weight))
        return (clicked + OVERALL_STRENGTH * base) / (seen + OVERALL_STRENGTH)

    def _rate(self, clicked: Floats, seen: Floats, parent: Floats) -> Floats:
        strength = self._table.strength
        return (clicked + strength * parent) / (seen + strength)

    @cached_property
    def _expected(self) -> dict[str, Floats]:
        """What an entity's smoothed rate promised of each event just before it."""
        promised = {}
        for name in FADING:
            promised[name] = self._overall[:-1].copy()
            if name in self._of:
                of, number = self._of[name]
                clicked, seen = of.sums_before(self._clicked[number]), of.sums_before(self._weight[number])
                promised[name][number] = self._rate(clicked, seen, self._overall[number])
        return promised

    def _residual(self, other: str) -> Floats:
        """Clicks beyond what the other side of an event promised."""
        return self._clicked - self._weight * self._expected[other]

    @cached_property
    def _pasts(self) -> dict[str, Past]:
        return {
            name: of.before(self._keys[name][self._wanted], self._cut) for name, (of, _) in self._of.items()
        }

    def _entity(self, name: str) -> list[Floats]:
        (of, number), past, kept = self._of[name], self._pasts[name], FADING[name]
        residual = self._residual("item" if name == "user" else "user")[number]
        seen, clicked = self._weight[number], self._clicked[number]
        total = past.newest(of.sums(seen))
        fading = past.newest(of.fading(seen, kept))
        rate = np.full(len(total), np.nan)
        np.divide(past.newest(of.fading(clicked, kept)), fading, out=rate, where=fading > 0)
        return [
            np.log1p(total),
            self._rate(past.newest(of.sums(clicked)), total, self._overall[self._cut]),
            past.newest(of.sums(residual)) / (total + RESIDUAL_STRENGTH),
            rate,
            past.newest(of.fading(residual, kept)) / (fading + RESIDUAL_STRENGTH),
            self._ago(past, of, number),
        ]

    def _ago(self, past: Past, of: Events, number: Ints) -> Floats:
        """Log of the seconds since the last event; NaN where there is none, or a table has no time."""
        time = self._table.rows.time
        if time is None:
            return np.full(len(self._wanted), np.nan)
        last = past.newest(time[self._events[number[of.order]]], np.nan)
        return np.log1p(np.maximum(0.0, time[self._wanted] - last))

    def _pair(self) -> list[Floats]:
        user, item = self._keys["user"], self._keys["item"]
        key = np.where((user < 0) | (item < 0), -1, user * (item.max(initial=0) + 1) + item)
        of, number = self._sorted(key[self._events])
        past = of.before(key[self._wanted], self._cut)
        seen, clicked = (past.newest(of.sums(values[number])) for values in (self._weight, self._clicked))
        return [seen, clicked, self._ago(past, of, number)]

    @cached_property
    def _clicks(self) -> tuple[Events, Ints, Past]:
        """Clicks of known users: their order by user, their numbers, and which of them each row knows."""
        user = self._keys["user"]
        number = np.flatnonzero((user[self._events] >= 0) & (self._clicked >= 0.5))
        of = Events.of(user[self._events[number]], number, len(self._events) + 1)
        return of, number[of.order], of.before(user[self._wanted], self._cut)

    def _company(self) -> list[Floats]:
        """How often people who clicked what this user clicked also clicked this item: sum and largest cosine."""
        _, number, past = self._clicks
        row, place = past.places(REMEMBERED_CLICKS)
        item = self._keys["item"]
        earlier, now = item[self._events[number]][place], item[self._wanted][row]
        times = self._times_together(earlier, now, self._cut[row])
        hit = np.flatnonzero(times)
        row, cut = row[hit], self._cut[row[hit]]
        clicks = [self._item_clicks(side[hit], cut) + COMPANY_STRENGTH for side in (earlier, now)]
        cosine = times[hit] / np.sqrt(clicks[0] * clicks[1])
        total, largest = np.bincount(row, cosine, len(self._wanted)), np.zeros(len(self._wanted))
        np.maximum.at(largest, row, cosine)
        size = np.minimum(past.end - past.begin, REMEMBERED_CLICKS).astype(np.float64)
        return [np.where(past.is_empty, np.nan, total), np.where(past.is_empty, np.nan, largest), size]

    def _item_clicks(self, item: Ints, cut: Ints) -> Floats:
        of, number = self._of["item"]
        return of.before(item, cut).newest(of.sums(self._clicked[number]))

    def _times_together(self, earlier: Ints, now: Ints, cut: Ints) -> Ints:
        """How often somebody had clicked both items by then, the second within REMEMBERED_CLICKS of the first."""
        of, number, _ = self._clicks
        item = self._keys["item"]
        clicked = item[self._events[number]]
        here = np.arange(len(number))
        which, place = Past(of.first, here).places(REMEMBERED_CLICKS)
        width = int(item.max(initial=0)) + 1
        together = _unordered(clicked[which], clicked[place], width)
        known = np.flatnonzero(together >= 0)
        known = known[np.argsort(number[which[known]], kind="stable")]
        pairs, code = np.unique(together[known], return_inverse=True)
        of_pairs = Events.of(code.astype(np.int64), number[which[known]], len(self._events) + 1)
        times = np.zeros(len(earlier), dtype=np.int64)
        if len(pairs) == 0:
            return times
        met = np.zeros(SLOTS, dtype=bool)  # most of what is asked never met: that is told without a search
        met[_slot(clicked[which], clicked[place])] = True
        near = np.flatnonzero(met[_slot(earlier, now)])
        asked = _unordered(earlier[near], now[near], width)
        asked_code = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
        found = np.flatnonzero(pairs[asked_code] == asked)
        past = of_pairs.before(asked_code[found], cut[near[found]])
        times[near[found]] = past.end - past.begin
        return times

    def _set(self, place: int) -> list[Floats]:
        starts, values = self._table.sets[place]
        user = self._keys.get("user")
        event, at = spans(starts[self._events], starts[self._events + 1])
        row, wanted = spans(starts[self._wanted], starts[self._wanted + 1])
        cut, count = self._cut[row], np.bincount(row, minlength=len(self._wanted))
        empty = np.where(count == 0, np.nan, 1.0)
        size = np.maximum(count, 1)
        of = Events.of(values[at], event, len(self._events) + 1)
        past = of.before(values[wanted], cut)
        seen, clicked = (past.newest(of.sums(amount[event])) for amount in (self._weight, self._clicked))
        rate = self._rate(clicked, seen, self._overall[cut])
        found = [
            np.log1p(np.bincount(row, seen, len(count)) / size) * empty,
            np.bincount(row, rate, len(count)) / size * empty,
        ]
        if user is None:
            return found
        if self._pasts["user"].is_empty.all():  # as where people of the test are new
            return [*found, 0.0 * empty, 0.0 * empty]
        width = int(values.max(initial=0)) + 1
        known = np.flatnonzero(user[self._events[event]] >= 0)
        event, at = event[known], at[known]
        own = Events.of(user[self._events[event]] * width + values[at], event, len(self._events) + 1)
        asked = user[self._wanted[row]]
        past = own.before(np.where(asked < 0, -1, asked * width + values[wanted]), cut)
        times = np.bincount(row, past.newest(own.sums(self._weight[event])), len(count))
        residual = np.bincount(row, past.newest(own.sums(self._residual("item")[event])), len(count))
        return [*found, times / size * empty, residual / (times + RESIDUAL_STRENGTH) * empty]

    def _likeness(self, vectors: Vectors) -> list[Floats]:
        """Cosine of the row's text with the texts that the user clicked last: mean, largest, newest."""
        text = self._table.rows.text
        _, number, past = self._clicks
        found = np.full((3, len(self._wanted)), np.nan)
        if text is None:
            return list(found)
        row, place = past.places(REMEMBERED_CLICKS)
        clicked, now = text[self._events[number[place]]], text[self._wanted[row]]
        cosine = np.empty(len(row))
        for start in range(0, len(row), COSINES_AT_ONCE):
            part = slice(start, start + COSINES_AT_ONCE)
            cosine[part] = np.einsum("ij,ij->i", vectors[clicked[part]], vectors[now[part]])
        known = ~past.is_empty
        size = np.bincount(row, minlength=len(self._wanted))
        last = np.cumsum(size)[known] - 1
        found[0, known] = np.bincount(row, cosine, len(size))[known] / size[known]
        found[1, known] = np.maximum.reduceat(cosine, last - size[known] + 1) if known.any() else 0
        found[2, known] = cosine[last]
        return list(found)


def _unordered(one: Ints, other: Ints, width: int) -> Ints:
    """A number per pair of items whatever their order; −1 for an item with itself, or where one is missing."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    return np.where((low < 0) | (low == high), -1, low * width + high)


def _slot(one: Ints, other: Ints) -> Ints:
    """A number below SLOTS per pair, the same whatever its order; few pairs share one."""
    slot: Ints = (one * other + (one + other) * 40_503) % SLOTS
    return slot


def _flat(sets: list[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """(where each row's values begin, with the end of the last; all values)."""
    length = np.fromiter(map(len, sets), dtype=np.int64, count=len(sets))
    values = np.fromiter(chain.from_iterable(sets), dtype=np.int64, count=int(length.sum()))
    return np.append(0, np.cumsum(length)), values
