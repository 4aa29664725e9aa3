"""Live click statistics: the one definition used to train (by replay) and to serve (from the stream).

The state is additive: an impression and a click each add numbers to a few counters, so that the ingest process
can keep the same state in a key-value store by increments:

    global                  impressions, clicks
    creative, line item     impressions, clicks
    slot                    impressions, clicks
    visitor                 impressions, clicks, expected
    visitor × line item     impressions

`expected` adds up, over the visitor's impressions, the creative's smoothed CTR at that moment. What the visitor
clicked beyond it says how click-ready he is, apart from how good the ads were that he happened to see.

Rates are smoothed towards their parent: creative → line item → global; slot → global; visitor → global.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ml.schema import Floats

# Prior strengths: how many impressions at the parent's rate an entity starts with.
GLOBAL_CTR = 0.01
GLOBAL_STRENGTH = 1_000.0
LINE_ITEM_STRENGTH = 300.0
CREATIVE_STRENGTH = 100.0
SLOT_STRENGTH = 300.0
VISITOR_STRENGTH = 30.0
RESIDUAL_STRENGTH = 3.0

CONSTANTS = (
    GLOBAL_CTR,
    GLOBAL_STRENGTH,
    LINE_ITEM_STRENGTH,
    CREATIVE_STRENGTH,
    SLOT_STRENGTH,
    VISITOR_STRENGTH,
    RESIDUAL_STRENGTH,
)

Number = TypeVar("Number", float, Floats)


class Raw(NamedTuple):
    """What is known about one candidate at one moment; NaN where there is no visitor identifier."""

    global_impressions: float
    global_clicks: float
    creative_impressions: float
    creative_clicks: float
    line_item_impressions: float
    line_item_clicks: float
    slot_impressions: float
    slot_clicks: float
    visitor_impressions: float
    visitor_clicks: float
    visitor_expected: float
    frequency: float


def smoothed(clicks: Number, impressions: Number, parent: Number, strength: float) -> Number:
    """The mean of a Beta posterior whose prior is `strength` impressions at the parent's rate."""
    return (clicks + strength * parent) / (impressions + strength)


def global_ctr(clicks: Number, impressions: Number) -> Number:
    """The rate over everything."""
    return (clicks + GLOBAL_STRENGTH * GLOBAL_CTR) / (impressions + GLOBAL_STRENGTH)


def creative_ctr(
    creative: tuple[Number, Number], line_item: tuple[Number, Number], overall: Number
) -> Number:
    """A creative's smoothed CTR from (impressions, clicks) of itself and of its line item."""
    parent = smoothed(line_item[1], line_item[0], overall, LINE_ITEM_STRENGTH)
    return smoothed(creative[1], creative[0], parent, CREATIVE_STRENGTH)


def visitor_residual(clicks: Number, expected: Number, impressions: Number) -> Number:
    """Clicks beyond those that the shown ads deserved, per impression, shrunk while there are few."""
    return (clicks - expected) / (impressions + RESIDUAL_STRENGTH)


class Statistics:
    """The counters in memory. Ids may be anything hashable; a visitor of None leaves and reads nothing."""

    def __init__(self) -> None:
        self.overall = [0.0, 0.0]
        self.creative: dict[Hashable, list[float]] = {}
        self.line_item: dict[Hashable, list[float]] = {}
        self.slot: dict[Hashable, list[float]] = {}
        self.visitor: dict[Hashable, list[float]] = {}
        self.frequency: dict[Hashable, dict[Hashable, float]] = {}

    def observe_impression(
        self, creative: Hashable, line_item: Hashable, slot: Hashable, visitor: Hashable | None
    ) -> float:
        """Count one impression; returns the creative's smoothed CTR just before it."""
        of_creative = self.creative.setdefault(creative, [0.0, 0.0])
        of_line_item = self.line_item.setdefault(line_item, [0.0, 0.0])
        of_slot = self.slot.setdefault(slot, [0.0, 0.0])
        overall = global_ctr(self.overall[1], self.overall[0])
        expected = creative_ctr((of_creative[0], of_creative[1]), (of_line_item[0], of_line_item[1]), overall)
        self.overall[0] += 1
        of_creative[0] += 1
        of_line_item[0] += 1
        of_slot[0] += 1
        if visitor is not None:
            of_visitor = self.visitor.setdefault(visitor, [0.0, 0.0, 0.0])
            of_visitor[0] += 1
            of_visitor[2] += expected
            seen = self.frequency.setdefault(visitor, {})
            seen[line_item] = seen.get(line_item, 0.0) + 1
        return expected

    def observe_click(
        self, creative: Hashable, line_item: Hashable, slot: Hashable, visitor: Hashable | None
    ) -> None:
        """Count one click of an impression that was counted before."""
        self.overall[1] += 1
        self.creative.setdefault(creative, [0.0, 0.0])[1] += 1
        self.line_item.setdefault(line_item, [0.0, 0.0])[1] += 1
        self.slot.setdefault(slot, [0.0, 0.0])[1] += 1
        if visitor is not None:
            self.visitor.setdefault(visitor, [0.0, 0.0, 0.0])[1] += 1

    def raw(self, creative: Hashable, line_item: Hashable, slot: Hashable, visitor: Hashable | None) -> Raw:
        """The numbers as known now; zeros for what was never seen."""
        of_creative = self.creative.get(creative, _UNSEEN)
        of_line_item = self.line_item.get(line_item, _UNSEEN)
        of_slot = self.slot.get(slot, _UNSEEN)
        if visitor is None:
            of_visitor, frequency = _NOBODY, _NAN
        else:
            of_visitor = self.visitor.get(visitor, _UNSEEN)
            frequency = self.frequency.get(visitor, _NOTHING).get(line_item, 0.0)
        return Raw(
            self.overall[0],
            self.overall[1],
            of_creative[0],
            of_creative[1],
            of_line_item[0],
            of_line_item[1],
            of_slot[0],
            of_slot[1],
            of_visitor[0],
            of_visitor[1],
            of_visitor[2],
            frequency,
        )

    def as_dict(self) -> dict[str, Any]:
        """The whole state as plain dicts and lists (ids stay as they are)."""
        return {
            "overall": list(self.overall),
            **{name: {key: list(row) for key, row in getattr(self, name).items()} for name in _ENTITIES},
            "frequency": {key: dict(seen) for key, seen in self.frequency.items()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Statistics:
        """The inverse of `as_dict`."""
        statistics = cls()
        statistics.overall = list(state["overall"])
        for name in _ENTITIES:
            setattr(statistics, name, {key: list(row) for key, row in state[name].items()})
        statistics.frequency = {key: dict(seen) for key, seen in state["frequency"].items()}
        return statistics


_ENTITIES = ("creative", "line_item", "slot", "visitor")
_NAN = float(np.nan)
_UNSEEN = [0.0, 0.0, 0.0]
_NOBODY = [_NAN, _NAN, _NAN]
_NOTHING: dict[Hashable, float] = {}
