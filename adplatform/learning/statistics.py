"""The live click statistics as they lie in Valkey: names of keys and fields, and one process's view of them.

No Django here. `learning.live` adds to them, serving reads them; their meaning is ml.ctr.counters'. Keys:

    counts:creative, :line_item, :campaign, :advertiser, :slot, :site
                           {id}:i impressions, {id}:c clicks, {id}:x exposure of ads, expected clicks of places;
                           all slots together are everything
                           {id}:C{epoch}, {id}:X{epoch} recent clicks and exposure of creatives and line items
    counts:layout          what this page says, as a number
    counts:until           seconds since 1970: everything that happened before is counted
    visitor:{pseudonym}    n impressions, c clicks, x expected clicks, l:{line item} impressions,
                           N{epoch}, C{epoch}, X{epoch} the same three of late,
                           u profile vector (float16), m the encoder that u belongs to

A recent sum halves every half-life, yet nobody rewrites it: what happens at `at` is added as 2^((at − start)/half-life)
with the start of its epoch, and reading multiplies by 2^(−(now − start)/half-life). An epoch is 32 half-lives: long
before a sum overflows there is a new field, and what the field before the last one holds is less than 2^−32 of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.ctr.counters import ADS, HALF_LIFE_SECONDS, PLACES
from ml.schema import Floats, Ints

ENTITIES = (*ADS, *PLACES)
REMEMBERED = ("creative", "line_item")  # whose recent sums are kept, beside those of visitors
LAYOUT = 2
LAYOUT_KEY, UNTIL_KEY = "counts:layout", "counts:until"
VISITOR_SECONDS = 90 * 86_400

PROFILE, PROFILE_ENCODER = b"u", b"m"
VISITOR_IMPRESSIONS, VISITOR_CLICKS, VISITOR_EXPECTED = b"n", b"c", b"x"

EPOCH_HALF_LIVES = 32
EPOCH_SECONDS = EPOCH_HALF_LIVES * HALF_LIFE_SECONDS


def stat_key(entity: str) -> str:
    """The hash that holds the counts of all creatives, line items, campaigns, advertisers, slots or sites."""
    return f"counts:{entity}"


def visitor_key(pseudonym: str) -> str:
    """The hash that holds what serving knows of one visitor."""
    return f"visitor:{pseudonym}"


def frequency_field(line_item_id: int) -> bytes:
    """The visitor's field that counts impressions of one line item."""
    return b"l:%d" % line_item_id


def epoch_of(at: float) -> int:
    """The epoch of a moment, in seconds since 1970."""
    return int(at // EPOCH_SECONDS)


def recent_field(letter: bytes, epoch: int) -> bytes:
    """The field of a recent sum: `letter` is N, C or X."""
    return b"%b%d" % (letter, epoch)


def weight(at: float, epoch: int) -> float:
    """What one event at `at` adds to a sum of this epoch."""
    return float(2.0 ** ((at - epoch * EPOCH_SECONDS) / HALF_LIFE_SECONDS))


def fading(at: float, epoch: int) -> float:
    """What a sum of this epoch is multiplied by to be that of the moment `at`."""
    return float(2.0 ** ((epoch * EPOCH_SECONDS - at) / HALF_LIFE_SECONDS))


@dataclass(frozen=True, slots=True)
class Counts:
    """Impressions, clicks, and exposure or expected clicks by id; ids in ascending order.

    Recent sums as of the start of `epoch`, the newest of them all.
    """

    ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    table: Floats = field(default_factory=lambda: np.empty((0, 5)))
    epoch: int = 0

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes]) -> Counts:
        """From the fields of one `counts:` hash."""
        epochs = [int(name.partition(b":")[2][1:] or 0) for name in fields]
        newest = max(epochs, default=0)
        rows: dict[int, list[float]] = {}
        for (name, value), epoch in zip(fields.items(), epochs, strict=True):
            key, _, kind = name.partition(b":")
            faded = 2.0 ** (EPOCH_HALF_LIVES * (epoch - newest)) if epoch else 1.0
            rows.setdefault(int(key), [0.0] * 5)[_COLUMNS[kind[:1]]] += float(value) * faded
        ids = sorted(rows)
        return cls(
            np.array(ids, np.int64), np.array([rows[key] for key in ids], np.float64).reshape(-1, 5), newest
        )

    def at(self, ids: Ints) -> Floats:
        """Rows of impressions, clicks, exposure or expected, recent clicks, recent exposure: a column per id, zeros for
        what was never seen."""
        if len(self.ids) == 0:
            return np.zeros((5, len(ids)))
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        found: Floats = np.where(self.ids[place] == ids, self.table[place].T, 0.0)
        return found

    def of(self, id: int) -> list[float]:
        """One row of `at`."""
        place = int(np.searchsorted(self.ids, id))
        if place == len(self.ids) or self.ids[place] != id:
            return [0.0] * 5
        row: list[float] = self.table[place].tolist()
        return row

    def fading(self, at: float) -> float:
        """What recent sums are multiplied by to be those of the moment `at`."""
        return fading(at, self.epoch)

    def total(self) -> tuple[float, float, float]:
        impressions, clicks, expected = self.table[:, :3].sum(axis=0).tolist()
        return impressions, clicks, expected


_COLUMNS = {b"i": 0, b"c": 1, b"x": 2, b"C": 3, b"X": 4}


@dataclass(frozen=True, slots=True)
class View:
    """All counts as read at one moment; `overall` is (impressions, clicks, expected clicks) of everything.

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


class LiveStatistics:
    """The newest view; `refresh` reads a new one and swaps it in by one assignment."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()

    def refresh(self, redis_client: Any) -> None:
        """Read everything and swap it in."""
        self.view = self.read(redis_client)

    @staticmethod
    def read(redis_client: Any) -> View:
        """Everything, in one trip. Call it from a background thread every second or two."""
        pipeline = redis_client.pipeline(transaction=True)
        for entity in ENTITIES:
            pipeline.hgetall(stat_key(entity))
        pipeline.get(UNTIL_KEY)
        *hashes, until = pipeline.execute()
        counts = {name: Counts.parse(fields) for name, fields in zip(ENTITIES, hashes, strict=True)}
        return View(**counts, overall=counts["slot"].total(), until=float(until or 0))


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
