"""The live click statistics as they lie in Valkey: names of keys and fields, and one process's view of them.

No Django here. `learning.live` adds to them, serving reads them; their meaning is ml.ctr.counters'. Keys:

    stat:creative, stat:line_item, stat:slot    {id}:i impressions, {id}:c clicks; all slots together are everything
    visitor:{pseudonym}                         n impressions, c clicks, e expected clicks, l:{line item} impressions,
                                                u profile vector (float16), m the encoder that u belongs to
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.schema import Floats, Ints

ENTITIES = ("creative", "line_item", "slot")
VISITOR_SECONDS = 90 * 86_400

PROFILE, PROFILE_ENCODER = b"u", b"m"
VISITOR_IMPRESSIONS, VISITOR_CLICKS, VISITOR_EXPECTED = b"n", b"c", b"e"


def stat_key(entity: str) -> str:
    """The hash that holds the counts of all creatives, line items or slots."""
    return f"stat:{entity}"


def visitor_key(pseudonym: str) -> str:
    """The hash that holds what serving knows of one visitor."""
    return f"visitor:{pseudonym}"


def frequency_field(line_item_id: int) -> bytes:
    """The visitor's field that counts impressions of one line item."""
    return b"l:%d" % line_item_id


@dataclass(frozen=True, slots=True)
class Counts:
    """Impressions and clicks by id; ids in ascending order."""

    ids: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    impressions: Floats = field(default_factory=lambda: np.empty(0))
    clicks: Floats = field(default_factory=lambda: np.empty(0))

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes]) -> Counts:
        """From the fields of one `stat:` hash."""
        counts: dict[int, list[float]] = {}
        for name, value in fields.items():
            key, _, kind = name.partition(b":")
            counts.setdefault(int(key), [0.0, 0.0])[kind == b"c"] = float(value)
        ids = sorted(counts)
        table = np.array([counts[key] for key in ids], np.float64).reshape(len(ids), 2)
        return cls(np.array(ids, np.int64), table[:, 0].copy(), table[:, 1].copy())

    def at(self, ids: Ints) -> tuple[Floats, Floats]:
        """(impressions, clicks) of these ids, zero for what was never seen."""
        if len(self.ids) == 0:
            return np.zeros(len(ids)), np.zeros(len(ids))
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known = self.ids[place] == ids
        return np.where(known, self.impressions[place], 0.0), np.where(known, self.clicks[place], 0.0)

    def total(self) -> tuple[float, float]:
        return float(self.impressions.sum()), float(self.clicks.sum())


@dataclass(frozen=True, slots=True)
class View:
    """All counts as read at one moment; `overall` is (impressions, clicks) of everything."""

    creative: Counts = field(default_factory=Counts)
    line_item: Counts = field(default_factory=Counts)
    slot: Counts = field(default_factory=Counts)
    overall: tuple[float, float] = (0.0, 0.0)


class LiveStatistics:
    """The newest view; `refresh` reads a new one and swaps it in by one assignment."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()

    def refresh(self, redis_client: Any) -> None:
        """Read the three hashes in one trip. Call it from a background thread about once a second."""
        pipeline = redis_client.pipeline(transaction=True)
        for entity in ENTITIES:
            pipeline.hgetall(stat_key(entity))
        creative, line_item, slot = (Counts.parse(fields) for fields in pipeline.execute())
        self.view = View(creative, line_item, slot, slot.total())
