"""Which candidates hold a value: bit i of a Python integer, or row i of a list, stands for candidate i.

The lists and bitmaps lie in arrays (`indexing`), in memory or mapped from a snapshot's file, and become Python integers
when they are first asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import Packed
from .types import BoolArray, IntArray

Arrays = Mapping[str, npt.NDArray[Any]]

KEPT_VALUES = 4_096
KEPT_BYTES = 2**21  # of each cache of bitmaps
_FEW = 8  # rows up to which shifting a bit is quicker than packing flags


def bits_of(flags: BoolArray) -> int:
    """A bitmap from one flag per candidate."""
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def flags_of(bits: int, size: int) -> BoolArray:
    """One flag per candidate from a bitmap."""
    raw = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
    return np.unpackbits(raw, count=size, bitorder="little").view(np.bool_)


def held_by(bits: int, rows: IntArray, size: int) -> BoolArray:
    """Of these few candidates who has a bit set."""
    packed = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
    held: BoolArray = (packed[rows >> 3] >> (rows & 7) & 1) != 0
    return held


def rows_of(bits: int, size: int) -> IntArray:
    """The candidates whose bit is set, ascending."""
    words = np.frombuffer(bits.to_bytes((size + 63) // 64 * 8, "little"), np.uint64)
    (held,) = words.nonzero()  # few of many: only words that hold something are unpacked
    flags = np.unpackbits(words[held].view(np.uint8), bitorder="little")
    (found,) = flags.view(np.bool_).nonzero()  # numpy counts flags many times faster than numbers
    rows: IntArray = held[found >> 6] * 64 + (found & 63)
    return rows


def from_packed(packed: npt.NDArray[np.uint8]) -> int:
    """A bitmap from packed bits."""
    return int.from_bytes(packed.tobytes(), "little")


def bits_at(rows: Sequence[IntArray], size: int) -> int:
    """The bitmap of lists of rows."""
    if sum(map(len, rows)) < _FEW:
        bits = 0
        for some in rows:
            for row in some.tolist():
                bits |= 1 << row
        return bits
    flags = np.zeros(size, np.bool_)
    for some in rows:
        flags[some] = True
    return bits_of(flags)


class Kept(dict[Any, Any]):
    """A cache that is emptied when it is full: what is common is soon back."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: Hashable, value: Any) -> Any:
        if len(self) >= self._most:
            self.clear()
        self[key] = value
        return value


def bitmaps_kept(size: int, *, each: int = 1) -> int:
    """How many entries of `each` bitmaps over so many candidates a cache may hold."""
    return min(KEPT_VALUES, max(64, KEPT_BYTES // (each * (size // 8 + 32))))


def key_of(kind: str, value: object) -> bytes:
    """Under what name a value stands in the directory."""
    return f"{kind}\0{value}".encode()


class Postings:
    """For each (kind, value), the candidates that hold it: a bitmap where it is common, rows where it is rare."""

    def __init__(self, arrays: Arrays, size: int) -> None:
        self.size = size
        self._keys = Packed(arrays["keys"], arrays["keys.at"])
        self._rows, self._at = arrays["rows"], arrays["rows.at"]
        self._common, self._bits = arrays["common"], arrays["bits"]

    def find(self, kind: str, value: object) -> int | IntArray:
        """A bitmap, or rows; 0 where nobody holds it."""
        key = key_of(kind, value)
        place = bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key:
            return 0
        if (common := int(self._common[place])) >= 0:
            return from_packed(self._bits[common])
        rows: IntArray = self._rows[self._at[place] : self._at[place + 1]]
        return rows


class Holders:
    """The postings of one kind, with what was asked lately."""

    __slots__ = ("_kept", "_kind", "_postings")

    def __init__(self, postings: Postings, kind: str) -> None:
        self._postings, self._kind = postings, kind
        self._kept = Kept(KEPT_VALUES)

    def bits(self, values: Iterable[Hashable]) -> int:
        """Candidates that hold any of the values."""
        found, rare = 0, []
        for value in values:
            entry = self._kept.get(value)
            if entry is None:
                entry = self._kept.keep(value, self._postings.find(self._kind, value))
            if isinstance(entry, int):
                found |= entry
            else:
                rare.append(entry)
        return found | bits_at(rare, self._postings.size) if rare else found


class RowsBy(Mapping[int, IntArray]):
    """Rows by an id such as a campaign's."""

    def __init__(self, ids: IntArray, at: IntArray, rows: IntArray) -> None:
        self.ids, self.at, self.rows = ids, at, rows
        self._ids, self._at = memoryview(ids), memoryview(at)  # type: ignore[arg-type]

    @classmethod
    def of(cls, column: IntArray) -> RowsBy:
        order = np.argsort(column, kind="stable")
        ids, first = np.unique(column[order], return_index=True)
        return cls(ids, np.append(first, len(column)).astype(np.int64), order.astype(np.int32))

    def __getitem__(self, id: int) -> IntArray:
        place = bisect_left(self._ids, id)
        if place == len(self._ids) or self._ids[place] != id:
            raise KeyError(id)
        return self.rows[self._at[place] : self._at[place + 1]]

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)

    def first(self, id: int) -> int | None:
        """The first row of an id, None where it has none."""
        rows = self.get(id)
        return None if rows is None else int(rows[0])

    def bits(self, ids: Iterable[int]) -> int:
        """The candidates of any of these ids."""
        return bits_at([self[id] for id in ids if id in self], len(self.rows))
