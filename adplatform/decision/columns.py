"""Candidates as columns: numbers as arrays, everything else as codes into the list of its distinct values.

A serving process maps the arrays of a snapshot into memory, which all processes share, and builds the few `Candidate`
objects that a request needs. A list of candidates (tests, simulation, replay) becomes the same columns in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from .types import Candidate, IntArray

NUMBERS: Mapping[str, Any] = {
    **dict.fromkeys(
        ("creative_id", "line_item_id", "campaign_id", "advertiser_id", "width", "height"), np.int64
    ),
    **dict.fromkeys(("bid_micros", "target_roas_bp", "value_micros", "remaining_micros"), np.int64),
    **dict.fromkeys(("impressions", "clicks"), np.int64),
    **dict.fromkeys(("pcvr", "pace"), np.float64),
    **dict.fromkeys(("is_approved", "is_running"), np.bool_),
}
MOMENTS = ("start_at", "end_at")  # microseconds since 1970
CODED = tuple(one.name for one in fields(Candidate) if one.name not in NUMBERS and one.name not in MOMENTS)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OPEN = {"start_at": int(np.iinfo(np.int64).min), "end_at": int(np.iinfo(np.int64).max)}  # always, never


def microseconds(at: datetime) -> int:
    """Since 1970, exactly."""
    return (at - EPOCH) // _MICROSECOND


class Packed(Sequence[bytes]):
    """Byte strings in one block, by number; `at` says where each begins, and where the last one ends."""

    __slots__ = ("_at", "_block", "at", "block")

    def __init__(self, block: npt.NDArray[np.uint8], at: IntArray) -> None:
        self.block, self.at = block, at
        self._block, self._at = memoryview(block), memoryview(at)  # type: ignore[arg-type]  # quicker than numpy's

    @classmethod
    def of(cls, values: Iterable[bytes]) -> Packed:
        held = list(values)
        at = np.zeros(len(held) + 1, np.int64)
        np.cumsum([len(one) for one in held], out=at[1:])
        return cls(np.frombuffer(b"".join(held), np.uint8), at)

    def __len__(self) -> int:
        return len(self._at) - 1

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        return bytes(self._block[self._at[number] : self._at[number + 1]])


class Read(Sequence[Any]):
    """Packed values, each read when it is asked for."""

    __slots__ = ("packed", "read")

    def __init__(self, packed: Packed, read: Callable[[bytes], Any]) -> None:
        self.packed, self.read = packed, read

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, number: Any) -> Any:
        return self.read(self.packed[number])


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of few or of many distinct values: the number of each row's value, and the values."""

    codes: npt.NDArray[np.int32]
    values: Sequence[Any]

    @classmethod
    def of(cls, keys: Iterable[Hashable], made: Callable[[Any], Any] | None = None) -> Coded:
        """From one key per row; `made` turns a distinct key into its value, once."""
        numbers: dict[Hashable, int] = {}
        codes = np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int32)
        return cls(codes, list(numbers) if made is None else [made(key) for key in numbers])

    def of_rows(self, flag_of: Callable[[Any], bool]) -> npt.NDArray[np.bool_]:
        """A flag per row, asked once of each distinct value."""
        flags = np.fromiter(map(flag_of, self.values), np.bool_, len(self.values))
        return flags[self.codes] if len(flags) else np.zeros(0, np.bool_)


class Columns:
    """A fixed candidate list; `numbers` and `moments` by field of Candidate, and what is `coded`."""

    def __init__(self, numbers: Mapping[str, npt.NDArray[Any]], coded: Mapping[str, Coded]) -> None:
        self.numbers, self.coded = numbers, coded
        self._numbers = [(name, memoryview(numbers[name])) for name in NUMBERS]  # type: ignore[arg-type]
        self._moments = [(name, memoryview(numbers[name])) for name in MOMENTS]  # type: ignore[arg-type]
        self._coded = [(name, memoryview(coded[name].codes), coded[name].values) for name in CODED]  # type: ignore[arg-type]

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Columns:
        return cls.built({one.name: [getattr(c, one.name) for c in candidates] for one in fields(Candidate)})

    @classmethod
    def built(cls, lists: Mapping[str, Sequence[Any] | Coded]) -> Columns:
        """From one list per field of Candidate; what is coded may come coded."""
        numbers: dict[str, npt.NDArray[Any]] = {
            name: np.array(lists[name], kind) for name, kind in NUMBERS.items()
        }
        for name in MOMENTS:
            held: Iterable[Any] = lists[name]  # type: ignore[assignment]
            moments = (_OPEN[name] if at is None else microseconds(at) for at in held)
            numbers[name] = np.fromiter(moments, np.int64)
        given = {name: lists[name] for name in CODED}
        coded = {name: one if isinstance(one, Coded) else Coded.of(one) for name, one in given.items()}
        return cls(numbers, coded)

    def __len__(self) -> int:
        return len(self.numbers["creative_id"])

    def __iter__(self) -> Iterator[Candidate]:
        return map(self.candidate, range(len(self)))

    def candidate(self, row: int) -> Candidate:
        """One row as the object that rules and people read."""
        known: dict[str, Any] = {name: view[row] for name, view in self._numbers}
        for name, view in self._moments:
            at = view[row]
            known[name] = None if at == _OPEN[name] else EPOCH + at * _MICROSECOND
        for name, codes, values in self._coded:
            known[name] = values[codes[row]]
        return Candidate(**known)
