"""Columns as rows of PostgreSQL's binary COPY format: nothing is printed here and nothing is parsed there.

A row is the number of its fields, then each with its length in bytes; numbers are big-endian. Rows whose texts are equally
long lie in memory as one array, which is filled column by column (`rows`); others are joined of fields (`joined`).
https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain, repeat
from math import isfinite
from struct import pack
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from .columns import Column, Ints, micros_of

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_EPOCH_MICROSECONDS = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970


def moments(micros: Ints) -> Ints:
    """timestamptz, from microseconds since 1970."""
    return micros - _EPOCH_MICROSECONDS


def same_size(values: Sequence[bytes]) -> Column:
    """Bytes as they are (a uuid, or a text), all of one length that is not nothing."""
    return np.frombuffer(b"".join(values), f"V{len(values[0])}")


def as_hex(values: Sequence[bytes]) -> Column | str:
    """A text of hexadecimal digits; all of one length."""
    digits = 2 * len(values[0])
    return np.frombuffer(b"".join(values).hex().encode(), f"V{digits}") if digits else ""


def rows(columns: Sequence[Column | str], count: int) -> bytes:
    """`count` rows of these fields: int64 (bigint, timestamptz), bool, bytes as they are; a text that all of them share."""
    texts = tuple(column.encode() if isinstance(column, str) else None for column in columns)
    layout = _layout(
        tuple(
            ("V", len(text)) if text is not None else (column.dtype.kind, column.dtype.itemsize)  # type: ignore[union-attr]
            for column, text in zip(columns, texts, strict=True)
        )
    )
    table = np.empty(count, layout)
    table[:] = _first(layout, texts)
    for place, column in enumerate(columns):
        if not isinstance(column, str):
            table[f"v{place}"] = column
    return table.tobytes()


def _first(layout: np.dtype[np.void], texts: Sequence[bytes | None]) -> npt.NDArray[np.void]:
    """A row with all that is the same in every row."""
    row = np.zeros(1, layout)
    row["fields"] = len(texts)
    for place, text in enumerate(texts):
        row[f"n{place}"] = layout[f"v{place}"].itemsize if f"v{place}" in (layout.names or ()) else 0
        if text:
            row[f"v{place}"] = np.frombuffer(text, f"V{len(text)}")
    return row


@lru_cache(maxsize=1_000)
def _layout(fields: tuple[tuple[str, int], ...]) -> np.dtype[np.void]:
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    for place, (kind, size) in enumerate(fields):
        parts.append((f"n{place}", ">i4"))
        if size:
            parts.append((f"v{place}", f">{kind}{size}" if kind == "i" else f"{kind}{size}"))
    return np.dtype(parts)


# --- rows of which each field has a length of its own -----------------------------------------------------------------

Fields = Iterable[bytes]
Writer = Callable[[Sequence[Any]], Fields]  # the fields of a column from its values
_NULL = b"\xff\xff\xff\xff"
_json = msgspec.json.Encoder().encode


def joined(columns: Sequence[Fields], count: int) -> bytes:
    """`count` rows of these columns' fields."""
    return b"".join(chain.from_iterable(zip(repeat(pack(">h", len(columns)), count), *columns, strict=True)))


def texts(values: Sequence[str]) -> Fields:
    """Most are the same few: each different one is written once."""
    written = {value: _field(value.encode()) for value in set(values)}
    return map(written.__getitem__, values)


def numbers(size: int, values: Sequence[int | None]) -> Fields:
    """smallint, integer, bigint by their bytes; OverflowError for what does not fit."""
    head = pack(">i", size)
    return (_NULL if value is None else head + value.to_bytes(size, "big", signed=True) for value in values)


smallints, integers, bigints = (partial(numbers, size) for size in (2, 4, 8))


def floats(values: Sequence[float | None]) -> Fields:
    """What is no number is nothing, as in JSON."""
    return (_NULL if value is None or not isfinite(value) else pack(">id", 8, value) for value in values)


def bools(values: Sequence[bool]) -> Fields:
    return (b"\0\0\0\1\1" if value else b"\0\0\0\1\0" for value in values)


def uuids(values: Sequence[str]) -> Fields:
    return (_field(bytes.fromhex(value.replace("-", ""))) for value in values)


def instants(values: Sequence[datetime]) -> Fields:
    return bigints(moments(micros_of(values)).tolist())


def byteas(values: Sequence[bytes]) -> Fields:
    return map(_field, values)


def jsons(values: Sequence[object]) -> Fields:
    """jsonb: its version, then the text."""
    return (_NULL if value is None else _field(b"\1" + _json(value)) for value in values)


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
