"""Sums over what was known of an entity just before a row, for all rows at once.

Outcomes are events, numbered in the order in which they become known. A row sees those numbered below its cut; an
entity's state at the row is that after the last of its events among them. Nothing here walks over rows in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml.schema import Floats, Ints, Mask

# Sums are of whole numbers, so that what one entity did cannot reach another by rounding: 34 billion impressions fit.
UNIT = float(2**28)
FORGOTTEN = 1e-17  # a share below this changes no sum


def fixed(values: Floats) -> Ints:
    """Amounts as whole numbers of 2^-28."""
    whole: Ints = np.rint(values * UNIT).astype(np.int64)
    return whole


@dataclass(frozen=True)
class Events:
    """Of one kind of entity: places sort them by entity and then by number.

    `order` are the events of the places, `first` the place of the same entity's first event.
    """

    order: Ints
    first: Ints
    key: Ints
    code: Ints
    width: int

    @classmethod
    def of(cls, key: Ints, number: Ints, width: int) -> Events:
        """Events of non-negative keys; `number`, below `width`, never falls from one event to the next."""
        order = _sorted(key)
        key = key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        first = np.repeat(starts, np.diff(starts, append=len(key)))
        return cls(order, first, key, key * width + number[order], width)

    def before(self, key: Ints, cut: Ints) -> Past:
        """What an entity did before the cut; a key of −1 did nothing."""
        end = np.searchsorted(self.code, key * self.width + cut).astype(np.int64)
        begin = end.copy()
        if len(self.order):
            last = np.maximum(end - 1, 0)
            known = (end > 0) & (self.key[last] == key)
            begin[known] = self.first[last[known]]
        return Past(begin, end)

    def sums(self, values: Floats) -> Floats:
        """Of an entity's values up to each place, its own included."""
        whole = fixed(values)[self.order]
        total = np.cumsum(whole)
        return (total - (total - whole)[self.first]) / UNIT

    def sums_before(self, values: Floats) -> Floats:
        """Of the same entity's earlier values, for each event as given."""
        found = np.empty(len(values))
        found[self.order] = self.sums(values) - fixed(values)[self.order] / UNIT
        return found

    def fading(self, values: Floats, kept: float) -> Floats:
        """The same as `sums`, but each event leaves only a share of what was before it."""
        found = values[self.order].astype(np.float64)
        step, share = 1, kept
        while step <= self._age.max(initial=0) and share > FORGOTTEN:
            found[step:] += np.where(self._age[step:] >= step, share * found[:-step], 0.0)
            step, share = 2 * step, share * share
        return found

    @cached_property
    def _age(self) -> Ints:
        return np.arange(len(self.order)) - self.first


@dataclass(frozen=True)
class Past:
    """Per row: the places, from `begin` to before `end`, of what its entity did so far."""

    begin: Ints
    end: Ints

    @cached_property
    def is_empty(self) -> Mask:
        """Whether nothing is known."""
        empty: Mask = self.begin == self.end
        return empty

    def newest(self, running: Floats, nothing: float = 0.0) -> Floats:
        """The value at the last place."""
        if len(running) == 0:
            return np.full(len(self.end), nothing)
        found: Floats = np.where(self.is_empty, nothing, running[np.maximum(self.end - 1, 0)])
        return found

    def places(self, most: int) -> tuple[Ints, Ints]:
        """(row, place) of at most so many of the newest places of each row, the oldest first."""
        return spans(np.maximum(self.begin, self.end - most), self.end)


def _sorted(key: Ints) -> Ints:
    """A stable order of non-negative numbers, by digits of 16 bits: numpy sorts those several times faster."""
    order = np.arange(len(key))
    for shift in range(0, int(key.max(initial=0)).bit_length(), 16):
        digit = (key[order] >> shift & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digit, kind="stable")]
    return order


def spans(begin: Ints, end: Ints) -> tuple[Ints, Ints]:
    """(which range, number) for all numbers of the ranges, one range after the other."""
    length = end - begin
    which = np.repeat(np.arange(len(begin)), length)
    shift = begin - (np.cumsum(length) - length)
    return which, np.arange(len(which)) + np.repeat(shift, length)


def fading_sums(values: Floats, kept: Floats) -> Floats:
    """Sums up to each value, of which each further one keeps its share: every stretch doubles from step to step."""
    total, share, step = values.copy(), kept.copy(), 1
    while step < len(total):
        total[step:] += share[step:] * total[:-step]
        share[step:] *= share[:-step]
        step *= 2
    return total
