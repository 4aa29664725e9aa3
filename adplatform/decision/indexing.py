"""The arrays that `bitmaps` answers from, made once per candidate list: by whoever publishes it, or in memory.

keys, keys.at           the directory: every (kind, value) that a candidate holds, sorted
common, bits            the packed bits of those that many hold; -1 for the others
rows, rows.at           the rows of those that few hold
open                    per dimension of targeting, packed bits of who includes nothing
daypart.*               rows with hours of their own, the 168 bits of each, the number of its zone; the zones
caps.*                  `Caps` reads them
creative_id.* …         rows by id (`RowsBy`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import targeting
from .columns import Coded, Columns, Packed
from .eligibility import attributes_of, fitting
from .postings import RowsBy, key_of
from .types import ALL_HOURS, Candidate, Cap, CapScope, DecisionError, IntArray, Targeting

IDS = ("creative_id", "line_item_id", "campaign_id", "advertiser_id")
SCOPES = tuple(str(scope) for scope in CapScope)
KINDS = {
    "currency": "currency",
    "category": "category",
    "domain": "landing_domain",
}  # and the fields that they name
_DAYPART_BYTES = 21  # 168 hours

# A counter of a cap and its limit in one number, so that those which a count reaches are a range of a sorted list:
# id, scope, number of the window, number of the limit.
WINDOW_BITS, LIMIT_BITS = 8, 14
_ID_BITS = 63 - 2 - WINDOW_BITS - LIMIT_BITS


def index_of(columns: Columns) -> dict[str, npt.NDArray[Any]]:
    """Everything that an EligibilityIndex reads beside the columns themselves."""
    arrays = _postings(columns)
    arrays |= _dayparts(columns)
    arrays |= _caps(columns)
    for name in IDS:
        by = RowsBy.of(columns.numbers[name])
        arrays |= {f"{name}.ids": by.ids, f"{name}.at": by.at, f"{name}.rows": by.rows}
    return arrays


def included(dimension: str) -> str:
    return f"{dimension}+"


def excluded(dimension: str) -> str:
    return f"{dimension}-"


def _expanded(codes: npt.NDArray[np.int32], counts: IntArray) -> tuple[IntArray, IntArray]:
    """(row, entry) pairs, where each row holds all the entries of its code and entries are numbered code by code."""
    if not len(codes):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    held = counts[codes]
    rows = np.repeat(np.arange(len(codes)), held)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(held) - held, held)
    first = np.cumsum(counts) - counts
    return rows, first[codes[rows]] + within


class _Directory:
    """Collects who holds what."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._keys: list[IntArray] = []
        self._rows: list[IntArray] = []

    def add(self, codes: npt.NDArray[np.int32], keys: Sequence[Sequence[bytes]]) -> None:
        """Every row of code c holds all of `keys[c]`."""
        numbers = self._numbers
        flat = np.fromiter((numbers.setdefault(key, len(numbers)) for some in keys for key in some), np.int64)
        counts = np.fromiter(map(len, keys), np.int64, len(keys))
        rows, entries = _expanded(codes, counts)
        self._keys.append(flat[entries])
        self._rows.append(rows)

    def arrays(self, size: int) -> dict[str, npt.NDArray[Any]]:
        keys = sorted(self._numbers)
        rank = np.zeros(len(keys), np.int64)
        rank[[self._numbers[key] for key in keys]] = np.arange(len(keys))
        place, rows = rank[np.concatenate(self._keys)], np.concatenate(self._rows)
        order = np.argsort(place, kind="stable")
        place, rows = place[order], rows[order]
        counts = np.bincount(place, minlength=len(keys))
        # A row number costs 4 bytes and a bitmap size/8; a bitmap is quicker.
        is_common = 64 * counts >= max(size, 1)
        common = np.where(is_common, np.cumsum(is_common) - 1, -1).astype(np.int32)
        bits = np.zeros((int(is_common.sum()), size), np.bool_)
        in_common = is_common[place] if len(place) else np.zeros(0, np.bool_)
        bits[common[place[in_common]], rows[in_common]] = True
        packed = Packed.of(keys)
        return {
            "keys": packed.block,
            "keys.at": packed.at,
            "common": common,
            "bits": np.packbits(bits, axis=1, bitorder="little"),
            "rows": rows[~in_common].astype(np.int32),
            "rows.at": np.concatenate([[0], np.cumsum(np.where(is_common, 0, counts))]).astype(np.int64),
        }


def _postings(columns: Columns) -> dict[str, npt.NDArray[Any]]:
    directory = _Directory()
    for kind, name in KINDS.items():
        coded = columns.coded[name]
        directory.add(coded.codes, [(key_of(kind, value),) for value in coded.values])
    alike = _alike(columns)
    directory.add(alike.codes, [_keys_of_kind(one) for one in alike.values])
    rules = columns.coded["targeting"]
    directory.add(rules.codes, [_keys_of_rules(one) for one in rules.values])
    size = len(columns)
    opened = [rules.of_rows(lambda one, name=name: not getattr(one, name).include) for name in DIMENSIONS]  # type: ignore[misc]
    return directory.arrays(size) | {
        "open": np.packbits(
            np.array(opened, np.bool_).reshape(len(DIMENSIONS), size), axis=1, bitorder="little"
        )
    }


DIMENSIONS = tuple(dimension.name for dimension in targeting.DIMENSIONS)


def _keys_of_rules(rules: Targeting) -> list[bytes]:
    return [
        key_of(kind, value)
        for name in DIMENSIONS
        for kind, values in (
            (included(name), getattr(rules, name).include),
            (excluded(name), getattr(rules, name).exclude),
        )
        for value in values
    ]


def _keys_of_kind(one: Candidate) -> list[bytes]:
    """What a creative must be equal in to fit a slot, and what a publisher may block it by."""
    fit = key_of("format", fitting(one.format, one.width, one.height))
    return [fit, *(key_of("attribute", name) for name in attributes_of(one))]


def _alike(columns: Columns) -> Coded:
    """One ad for all that are of the same kind: format, size, language, attributes."""
    coded = [columns.coded[name].codes.tolist() for name in ("format", "language", "attributes")]
    kinds = Coded.of(
        zip(columns.numbers["width"].tolist(), columns.numbers["height"].tolist(), *coded, strict=True)
    )
    _, first = np.unique(kinds.codes, return_index=True)
    return Coded(kinds.codes, [columns.candidate(row) for row in first.tolist()])


def _dayparts(columns: Columns) -> dict[str, npt.NDArray[Any]]:
    rules, zones = columns.coded["targeting"], columns.coded["time_zone"]
    rows = np.flatnonzero(rules.of_rows(lambda one: one.daypart != ALL_HOURS))
    masks = [one.daypart.to_bytes(_DAYPART_BYTES, "little") for one in rules.values]
    by_code = np.frombuffer(b"".join(masks), np.uint8).reshape(len(masks), _DAYPART_BYTES)
    names = Packed.of([str(name).encode() for name in zones.values])
    return {
        "daypart.rows": rows.astype(np.int32),
        "daypart.masks": np.ascontiguousarray(by_code[rules.codes[rows]]),
        "daypart.zones": zones.codes[rows],
        "zones": names.block,
        "zones.at": names.at,
    }


def _caps(columns: Columns) -> dict[str, npt.NDArray[Any]]:
    """Rows in the order of `counter_key`: a counter's rows by ascending limit."""
    coded = columns.coded["caps"]
    caps: list[Cap] = [cap for some in coded.values for cap in some]
    rows, entries = _expanded(coded.codes, np.fromiter(map(len, coded.values), np.int64, len(coded.values)))
    scopes = np.array([SCOPES.index(str(cap.scope)) for cap in caps], np.int64)[entries]
    windows, window = np.unique(np.array([cap.window_seconds for cap in caps], np.int64), return_inverse=True)
    limits, limit = np.unique(np.array([cap.limit for cap in caps], np.int64), return_inverse=True)
    ids = np.stack([columns.numbers[f"{scope}_id"] for scope in SCOPES])[scopes, rows]
    _check(ids, windows, limits)
    keys = counter_key(ids, scopes, window[entries]) | limit[entries]
    order = np.argsort(keys, kind="stable")
    never = limits[limit[entries]] <= 0
    return {
        "caps.keys": keys[order],
        "caps.rows": rows[order].astype(np.int32),
        "caps.windows": windows,
        "caps.limits": limits,
        "caps.never": np.unique(rows[never]).astype(np.int32),
    }


def counter_key(id: Any, scope: Any, window: Any) -> Any:
    """A counter's number, with room for that of a limit."""
    return (((id << 2) | scope) << WINDOW_BITS | window) << LIMIT_BITS


def _check(ids: IntArray, windows: IntArray, limits: IntArray) -> None:
    if len(windows) >= 1 << WINDOW_BITS or len(limits) >= 1 << LIMIT_BITS:
        raise DecisionError(
            "There are more different windows or limits of frequency caps than an index can number."
        )
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < 1 << _ID_BITS:
        raise DecisionError("An id is too large for the index of frequency caps.")


def parts(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays below a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
