"""The live click statistics as they lie in Valkey: names of keys, the form of rows, and one process's view of them.

No Django here. `learning.live` adds to them, serving reads them; their meaning is ml.ctr.counters'. Keys:

    counts:creative, :line_item, :campaign, :advertiser, :slot, :site, :all
                           a hash: id → a row of six float64, little endian: impressions, clicks, exposure of ads or expected
                           clicks of places, recent clicks, recent exposure, the epoch of the recent sums (of creatives and
                           line items). `all` holds one row, of everything, under the id 0
    counts:changes         a stream: an entry for each transaction that counted something, by name of the hash the ids that
                           it touched (int64) and their rows as they are from then on; the last half minute is kept
    counts:layout          what this page says, as a number
    counts:until           seconds since 1970: everything that happened before is counted
    counts:withdrawn       the id of the newest finding (events.Invalidation) that is taken out: set with the rows
    visitor:{pseudonym}    n impressions, c clicks, x expected clicks, l:{line item} impressions,
                           N{epoch}, C{epoch}, X{epoch} the same three of late,
                           u profile vector (float16), m the encoder that u belongs to

A process reads the hashes once, and from then on only what the stream says has changed. Rows are whole values and no
differences: one that comes twice changes nothing, and what was read is what Valkey holds, to the last bit. Who finds the
entry that it read last gone (too slow, Valkey lost or restored, everything recomputed) reads the hashes again.

A recent sum halves every half-life, yet nobody rewrites it: what happens at `at` is added as 2^((at − start)/half-life)
with the start of its epoch, and reading multiplies by 2^(−(now − start)/half-life). An epoch is 32 half-lives: a sum that is
added to in a later epoch is first brought to that one's start, by a power of two and so without rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from ml.ctr.counters import ADS, HALF_LIFE_SECONDS, PLACES
from ml.schema import Floats, Ints

ENTITIES = (*ADS, *PLACES)
EVERYTHING = "all"
HASHES = (*ENTITIES, EVERYTHING)
REMEMBERED = ("creative", "line_item")  # whose recent sums are kept, beside those of visitors
LAYOUT = 4
LAYOUT_KEY, UNTIL_KEY, CHANGES_KEY = "counts:layout", "counts:until", "counts:changes"
WITHDRAWN_KEY = "counts:withdrawn"
VISITOR_SECONDS = 90 * 86_400
CHANGES_KEPT_MILLISECONDS = 30_000  # some 40 MB at 5,000 events a second

PROFILE, PROFILE_ENCODER = b"u", b"m"
VISITOR_IMPRESSIONS, VISITOR_CLICKS, VISITOR_EXPECTED = b"n", b"c", b"x"

EPOCH_HALF_LIVES = 32
EPOCH_SECONDS = EPOCH_HALF_LIVES * HALF_LIFE_SECONDS

COLUMNS, SHOWN_COLUMNS, EPOCH = 6, 5, 5
_RECENT = slice(3, 5)
_ROW_BYTES, _ID_BYTES = 8 * COLUMNS, 8
_PIECE = 1_000  # rows or entries per trip: neither Valkey nor the interpreter is held for long

Changes = dict[str, tuple[Ints, Floats]]


def stat_key(entity: str) -> str:
    """The hash that holds the counts of all creatives, line items, campaigns, advertisers, slots or sites, or of all."""
    return f"counts:{entity}"


def visitor_key(pseudonym: str) -> str:
    """The hash that holds what serving knows of one visitor."""
    return f"visitor:{pseudonym}"


def frequency_field(line_item_id: int) -> bytes:
    """The visitor's field that counts impressions of one line item."""
    return b"l:%d" % line_item_id


def frequencies(visitor: Mapping[bytes, bytes]) -> dict[int, float]:
    """Impressions by line item, from the fields of the visitor's hash."""
    return {int(name[2:]): float(count) for name, count in visitor.items() if name.startswith(b"l:")}


def epoch_of(at: float) -> int:
    """The epoch of a moment, in seconds since 1970."""
    return int(at // EPOCH_SECONDS)


def recent_field(letter: bytes, epoch: int) -> bytes:
    """A visitor's field of a recent sum: `letter` is N, C or X."""
    return b"%b%d" % (letter, epoch)


def weight(at: float, epoch: int) -> float:
    """What one event at `at` adds to a sum of this epoch."""
    return float(2.0 ** ((at - epoch * EPOCH_SECONDS) / HALF_LIFE_SECONDS))


def fading(at: float, epoch: int) -> float:
    """What a sum of this epoch is multiplied by to be that of the moment `at`."""
    return float(2.0 ** ((epoch * EPOCH_SECONDS - at) / HALF_LIFE_SECONDS))


@dataclass(frozen=True, slots=True)
class Counts:
    """Impressions, clicks, exposure or expected clicks, recent clicks, recent exposure by id; ids in ascending order.

    `table` has a row for each of the five and a column for each id, and one of zeros at its end for what was never seen.
    Recent sums as of the start of `epoch`, the newest of them all.
    """

    ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    table: Floats = field(default_factory=lambda: np.zeros((SHOWN_COLUMNS, 1)))
    epoch: int = 0

    def with_rows(self, ids: Ints, rows: Floats) -> Counts:
        """These counts with other rows for some ids, old ones or new; of an id that comes twice the last one holds.

        `ids` is the same array as before where no id is new, so that places found in it stay right.
        """
        if not len(ids):
            return self
        ids, last = np.unique(ids[::-1], return_index=True)
        rows = rows[::-1][last]
        epoch = max(self.epoch, int(rows[:, EPOCH].max()))
        table = self._as_of(epoch)
        shown = rows[:, :SHOWN_COLUMNS].T.copy()
        shown[_RECENT] *= 2.0 ** (EPOCH_HALF_LIVES * (rows[:, EPOCH] - epoch))
        places = self.places(ids)
        new = places == len(self.ids)
        table[:, places[~new]] = shown[:, ~new]
        if not new.any():
            return Counts(self.ids, table, epoch)
        before = np.searchsorted(self.ids, ids[new])
        return Counts(
            np.insert(self.ids, before, ids[new]), np.insert(table, before, shown[:, new], axis=1), epoch
        )

    def _as_of(self, epoch: int) -> Floats:
        """A copy of the table, its recent sums brought to a later epoch."""
        table = self.table.copy()
        if epoch > self.epoch:
            table[_RECENT] *= 2.0 ** (EPOCH_HALF_LIVES * (self.epoch - epoch))
        return table

    def places(self, ids: Ints) -> Ints:
        """The column of each id, that of the zeros where it was never seen."""
        nothing = len(self.ids)
        if nothing == 0:
            return np.zeros(len(ids), np.int64)
        place = np.minimum(np.searchsorted(self.ids, ids), nothing - 1)
        return np.where(self.ids[place] == ids, place, nothing)

    def at(self, ids: Ints) -> Floats:
        """Rows of impressions, clicks, exposure or expected, recent clicks, recent exposure: a column per id, zeros for
        what was never seen."""
        found: Floats = self.table[:, self.places(ids)]
        return found

    def of(self, id: int) -> list[float]:
        """One column of `at`."""
        place = int(self.ids.searchsorted(id))
        if place == len(self.ids) or self.ids[place] != id:
            return [0.0] * SHOWN_COLUMNS
        column: list[float] = self.table[:, place].tolist()
        return column

    def fading(self, at: float) -> float:
        """What recent sums are multiplied by to be those of the moment `at`."""
        return fading(at, self.epoch)


@dataclass(frozen=True, slots=True)
class View:
    """All counts as read at one moment; `overall` is (impressions, clicks, expected clicks) of everything. Counts that did
    not change since the view before are the same objects.

    `until`: what happened before is counted, in seconds since 1970; 0 where nobody counts.
    """

    creative: Counts = field(default_factory=Counts)
    line_item: Counts = field(default_factory=Counts)
    campaign: Counts = field(default_factory=Counts)
    advertiser: Counts = field(default_factory=Counts)
    slot: Counts = field(default_factory=Counts)
    site: Counts = field(default_factory=Counts)
    overall: tuple[float, float, float] = (0.0, 0.0, 0.0)
    until: float = 0.0

    def with_changes(self, changes: Mapping[str, tuple[Ints, Floats]]) -> View:
        """The view after these rows were written."""
        made: dict[str, Any] = {
            name: getattr(self, name).with_rows(*changes[name]) for name in ENTITIES if name in changes
        }
        if EVERYTHING in changes and len(changes[EVERYTHING][1]):
            made["overall"] = tuple(changes[EVERYTHING][1][-1, :3].tolist())
        return replace(self, **made) if made else self


class LiveStatistics:
    """The newest view; `refresh` reads a newer one and swaps it in by one assignment."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()
        self._newest = self.view  # as read, perhaps not swapped in yet
        self._seen: bytes | None = None  # the change up to which `_newest` counts; b"": there was none yet

    def refresh(self, redis_client: Any) -> None:
        """Read what is new and swap it in."""
        self.view = self.read(redis_client)

    def read(self, redis_client: Any) -> View:
        """The newest view: what changed since the last reading, or everything where that cannot be told. Call it from a
        background thread every second or two, and from one thread only."""
        newest, until = self._newest, float(redis_client.get(UNTIL_KEY) or 0)  # before what it speaks of
        if self._seen is None or not self._follow(redis_client):
            if self._seen is not None and not redis_client.exists(LAYOUT_KEY):
                return newest  # lost, and not recomputed yet: what was known serves on, and its age shows
            self._newest, self._seen = _everything(redis_client)
            self._follow(redis_client)
        if self._newest is newest and until == newest.until:
            return newest
        self._newest = replace(self._newest, until=until)
        return self._newest

    def _follow(self, redis_client: Any) -> bool:
        """Take in the changes since the last reading; False where some of them may be gone."""
        seen, entries = cast(bytes, self._seen), []
        while True:
            piece = redis_client.xrange(CHANGES_KEY, min=seen or "-", count=_PIECE)
            if not piece or (seen and piece[0][0] != seen):
                return not piece and not seen
            if not seen:
                return False  # there was no stream when everything was read, and its first entries may be gone by now
            entries += piece[1:]
            seen = piece[-1][0]
            if len(piece) < _PIECE:
                break
        self._newest = self._newest.with_changes(unpacked(fields for _, fields in entries))
        self._seen = seen
        return True


def _everything(redis_client: Any) -> tuple[View, bytes]:
    """All counts, and the change that they hold at least. Rows that change meanwhile come once more by the stream."""
    newest = redis_client.xrevrange(CHANGES_KEY, count=1)
    seen = newest[0][0] if newest else b""
    if redis_client.get(LAYOUT_KEY) not in (None, b"%d" % LAYOUT):
        return View(), seen  # ingest recomputes them and says so
    return View().with_changes({name: _rows_of(redis_client, name) for name in HASHES}), seen


def _rows_of(redis_client: Any, name: str) -> tuple[Ints, Floats]:
    """Ids and rows of a hash."""
    cursor, ids, packed = 0, [], []
    while True:
        cursor, rows = redis_client.hscan(stat_key(name), cursor, count=_PIECE)
        ids.append(np.array(list(map(int, rows)), np.int64))
        packed.append(b"".join(rows.values()))
        if not cursor:
            break
    return np.concatenate(ids), rows_from(b"".join(packed))


# --- rows and changes, packed -----------------------------------------------------------------------------------------


def rows_from(packed: bytes) -> Floats:
    """Rows as they lie in a hash, one after another."""
    return np.frombuffer(packed, "<f8").reshape(-1, COLUMNS)


def write(pipeline: Any, changes: Mapping[str, tuple[Ints, Floats]]) -> None:
    """Set these rows. Readers learn of it by `announce` or `start_anew`, in the same transaction or after it."""
    for name, (ids, rows) in changes.items():
        packed = np.ascontiguousarray(rows, "<f8").tobytes()
        starts = range(0, len(packed), _ROW_BYTES)
        mapping = {
            number: packed[start : start + _ROW_BYTES]
            for number, start in zip(ids.tolist(), starts, strict=True)
        }
        pipeline.hset(stat_key(name), mapping=mapping)


def announce(pipeline: Any, changes: Mapping[str, tuple[Ints, Floats]], *, now_milliseconds: int) -> None:
    """Append these rows to the stream of changes, and drop what is too old. `now`: by Valkey's clock, as its ids are."""
    fields = {
        name: np.ascontiguousarray(ids, "<i8").tobytes() + np.ascontiguousarray(rows, "<f8").tobytes()
        for name, (ids, rows) in changes.items()
    }
    pipeline.xadd(CHANGES_KEY, fields, minid=now_milliseconds - CHANGES_KEPT_MILLISECONDS, approximate=True)


def start_anew(pipeline: Any) -> None:
    """Have every process read everything again."""
    pipeline.delete(CHANGES_KEY)
    pipeline.xadd(CHANGES_KEY, {EVERYTHING: b""})


def unpacked(entries: Iterator[Mapping[bytes, bytes]]) -> Changes:
    """What the entries of the stream say, those of one hash joined in their order."""
    ids: dict[str, list[Ints]] = {}
    rows: dict[str, list[Floats]] = {}
    for fields in entries:
        for name, packed in fields.items():
            count = len(packed) // (_ID_BYTES + _ROW_BYTES)
            split = count * _ID_BYTES
            ids.setdefault(name.decode(), []).append(np.frombuffer(packed[:split], "<i8"))
            rows.setdefault(name.decode(), []).append(rows_from(packed[split:]))
    return {name: (np.concatenate(ids[name]), np.concatenate(rows[name])) for name in ids}


# --- the numbers of ml.ctr.counters.Raw -------------------------------------------------------------------------------


def of_ads(counts: Mapping[str, Floats], *, faded: Mapping[str, float]) -> dict[str, Any]:
    """ml.ctr.counters.Raw's numbers of ads: `counts` are columns of Counts.at, `faded` says by how
    much recent sums of the two levels which keep them have faded."""
    raw: dict[str, Any] = {}
    for name in ADS:
        impressions, clicks, exposure, recent_clicks, recent_exposure = counts[name]
        raw |= {f"{name}_clicks": clicks, f"{name}_exposure": exposure}
        if name in REMEMBERED:
            raw[f"{name}_impressions"] = impressions
            raw[f"{name}_recent_clicks"] = recent_clicks * faded[name]
            raw[f"{name}_recent_exposure"] = recent_exposure * faded[name]
    return raw


def of_visitor(fields: Mapping[bytes, bytes], at: float) -> dict[str, float]:
    """The same of a visitor, from the fields of the visitor's hash; of frequency nothing."""
    get = fields.get
    raw = {
        "visitor_impressions": float(get(VISITOR_IMPRESSIONS, 0)),
        "visitor_clicks": float(get(VISITOR_CLICKS, 0)),
        "visitor_expected": float(get(VISITOR_EXPECTED, 0)),
    }
    epoch = epoch_of(at)
    epochs = [(number, fading(at, number)) for number in (epoch - 1, epoch)]
    for name, letter in _OF_VISITOR:
        raw[name] = sum(float(get(recent_field(letter, number), 0)) * left for number, left in epochs)
    return raw


_OF_VISITOR = (
    ("visitor_recent_impressions", b"N"),
    ("visitor_recent_clicks", b"C"),
    ("visitor_recent_expected", b"X"),
)


def outdated_fields(epoch: int) -> Iterator[bytes]:
    """A visitor's fields that no longer count once something is added in this epoch."""
    return (recent_field(letter, epoch - 2) for _, letter in _OF_VISITOR)
