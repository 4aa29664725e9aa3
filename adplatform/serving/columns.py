"""The ads of a snapshot as files, written by a worker from rows and mapped into memory by every process.

    ads.safetensors     what changes when somebody edits: ids, bids, targeting, caps, texts
    state.safetensors   what changes by itself: money, pace, rates, counts
    index.safetensors   decision.indexing's arrays

Each stays byte for byte the same while what it holds does; then the next snapshot has it as a hard link, and processes
keep what they have made of it. No Django here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
import numpy.typing as npt

from adplatform.core.http import host_of
from adplatform.decision import indexing, targeting
from adplatform.decision.bitmaps import EligibilityIndex
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.columns import CODED, MOMENTS, NUMBERS, Coded, Columns, Packed, Read
from adplatform.decision.postings import RowsBy
from adplatform.decision.types import ALL_HOURS, BidStrategy, Candidate, Cap, CapScope, Targeting

from . import tensors
from .render import Ad, AdText, prepared

if TYPE_CHECKING:
    from .snapshot import CandidateRow

ADS, STATE, INDEX = "ads.safetensors", "state.safetensors", "index.safetensors"
FILES = (ADS, STATE, INDEX)
KEPT_ADS = 4_096  # ads that were served lately, ready to be served again

_STATE = ("remaining_micros", "pace", "value_micros", "pcvr", "impressions", "clicks")
_TEXT, _LANDING = "text", "landing_url"  # beside the fields of Candidate
_KINDS: dict[str, Any] = {
    **{name: kind for name, kind in get_type_hints(Candidate).items() if name in CODED},
    _TEXT: AdText,
    _LANDING: str,
}
_READ: dict[str, Callable[[bytes], Any]] = {
    name: msgspec.json.Decoder(kind).decode for name, kind in _KINDS.items()
}

Arrays = dict[str, npt.NDArray[Any]]


# --- written by a worker ----------------------------------------------------------------------------------------------


def write(folder: Path, rows: Sequence[CandidateRow]) -> None:
    """The files of these ads."""
    texts = Coded.of(map(msgspec.json.encode, (row.text for row in rows)), msgspec.Raw)
    save(folder, of_rows(rows), texts, Coded.of(row.landing_url for row in rows))


def save(folder: Path, columns: Columns, texts: Coded, landings: Coded) -> None:
    """The files of these columns; `texts` are AdText."""
    ads = {name: one for name, one in columns.numbers.items() if name not in _STATE}
    for name, coded in {**columns.coded, _TEXT: texts, _LANDING: landings}.items():
        ads |= _packed(name, coded)
    tensors.write(folder / ADS, ads)
    tensors.write(folder / STATE, {name: columns.numbers[name] for name in _STATE})
    tensors.write(folder / INDEX, indexing.index_of(columns))


def of_rows(rows: Sequence[CandidateRow]) -> Columns:
    """What decisions know of these ads; each distinct targeting is parsed once, also over many snapshots."""
    own = [name for name in (*NUMBERS, *MOMENTS, *CODED) if hasattr(rows[0], name)] if rows else []
    lists: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in own}
    lists = dict.fromkeys((*NUMBERS, *MOMENTS, *CODED), ()) | lists
    texts = [row.text for row in rows]
    for name in ("format", "width", "height"):
        lists[name] = [getattr(text, name) for text in texts]
    lists["is_approved"] = lists["is_running"] = [True] * len(rows)  # others are not in a snapshot
    lists["landing_domain"] = [domain_of(row.landing_url) for row in rows]
    lists["targeting"] = Coded.of(lists["targeting"], rules_of)
    lists["bid_strategy"] = Coded.of(lists["bid_strategy"], BidStrategy)
    lists["attributes"] = Coded.of(map(tuple, lists["attributes"]), frozenset)
    caps = [tuple((cap.scope, cap.limit, cap.window_seconds) for cap in row.caps) for row in rows]
    lists["caps"] = Coded.of(caps, lambda key: tuple(Cap(CapScope(one[0]), *one[1:]) for one in key))
    return Columns.built(lists)


# What texts mean does not change from one snapshot to the next.
domain_of = lru_cache(maxsize=200_000)(host_of)


@lru_cache(maxsize=200_000)
def rules_of(stored: str) -> Targeting:
    """Targeting from its stored form; TargetingError where that is wrong."""
    return targeting.parse(msgspec.json.decode(stored))


def _packed(name: str, coded: Coded) -> Arrays:
    packed = Packed.of(_written(value) for value in coded.values)
    return {f"{name}.codes": coded.codes, f"{name}.block": packed.block, f"{name}.at": packed.at}


def _written(value: Any) -> bytes:
    return msgspec.json.encode(
        _short(value) if isinstance(value, Targeting) else value, order="deterministic"
    )


def _short(rules: Targeting) -> dict[str, Any]:
    """Without what is not restricted: that is most of it."""
    held = {name: getattr(rules, name) for name in indexing.DIMENSIONS}
    sides = {
        name: {side: getattr(rule, side) for side in ("include", "exclude") if getattr(rule, side)}
        for name, rule in held.items()
    }
    named: dict[str, Any] = {name: rule for name, rule in sides.items() if rule}
    return named | ({"daypart": rules.daypart} if rules.daypart != ALL_HOURS else {})


# --- read by every process --------------------------------------------------------------------------------------------


class Ads(Mapping[int, Ad]):
    """Ads by creative, made ready when they are served."""

    def __init__(self, rows: RowsBy, texts: Coded, landings: Coded) -> None:
        self._rows = rows
        self._landings = landings
        self._ad = lru_cache(maxsize=KEPT_ADS)(lambda row: prepared(_at(texts, row), _at(landings, row)))

    def __getitem__(self, creative_id: int) -> Ad:
        return self._ad(self._row(creative_id))

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def landing_url(self, creative_id: int) -> str:
        """Where a click leads; KeyError where the creative is not among these."""
        return str(_at(self._landings, self._row(creative_id)))

    def _row(self, creative_id: int) -> int:
        row = self._rows.first(creative_id)
        if row is None:
            raise KeyError(creative_id)
        return row


def _at(coded: Coded, row: int) -> Any:
    return coded.values[coded.codes[row]]


def read(
    folder: Path, *, ads: Ads | None = None, index: EligibilityIndex | None = None
) -> tuple[CandidateSet, Ads]:
    """Map the files. `ads`, `index`: of a snapshot whose files ADS and INDEX were the same, to go on with."""
    arrays = tensors.mapped(folder / ADS)
    numbers = {name: one for name, one in arrays.items() if "." not in name}
    columns = Columns(
        numbers | tensors.mapped(folder / STATE), {name: _coded(arrays, name) for name in CODED}
    )
    candidates = CandidateSet(columns, index or EligibilityIndex(columns, tensors.mapped(folder / INDEX)))
    by_creative = candidates.rows_by("creative_id")
    return candidates, ads or Ads(by_creative, _coded(arrays, _TEXT), _coded(arrays, _LANDING))


def _coded(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Coded:
    packed = Packed(arrays[f"{name}.block"], arrays[f"{name}.at"])
    return Coded(arrays[f"{name}.codes"], _values(packed, _READ[name]))


def _values(packed: Packed, read: Callable[[bytes], Any]) -> Sequence[Any]:
    """Few values are read at once, many when they are asked for."""
    return [read(one) for one in packed] if len(packed) <= _FEW else Read(packed, read)


_FEW = 256
