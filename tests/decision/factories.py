"""Plain makers of requests, slots and candidates, and a scorer that reads its scores from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from adplatform.decision.types import (
    AdRequest,
    BidStrategy,
    Candidate,
    Candidates,
    FloatArray,
    Placement,
    Scores,
    Slot,
)

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday


def slot(**changes: Any) -> Slot:
    return replace(
        Slot(id=1, public_id="slot_1", site_id=1, publisher_id=1, format="banner", width=300, height=250),
        **changes,
    )


def request(*slots: Slot, count: int = 1, **changes: Any) -> AdRequest:
    placements = tuple(Placement(f"p{i}", s, count) for i, s in enumerate(slots or (slot(),)))
    return replace(AdRequest(request_id="r", at=NOON, placements=placements), **changes)


def candidate(id: int = 1, **changes: Any) -> Candidate:
    """A creative of a line item, campaign and advertiser of its own, bidding 1.00 CPM."""
    base = Candidate(
        creative_id=id,
        line_item_id=id,
        campaign_id=id,
        advertiser_id=id,
        width=300,
        height=250,
        bid_strategy=BidStrategy.MANUAL_CPM,
        bid_micros=1_000_000,
        remaining_micros=10_000_000,
    )
    return replace(base, **changes)


class TableScorer:
    """Scores by creative id: {id: (pctr, sd)}; what is not in the table is (0.01, 0)."""

    def __init__(self, table: Mapping[int, tuple[float, float]] | None = None, name: str = "table-1") -> None:
        self.table = dict(table or {})
        self.versions = {"matcher": name, "blender": name}

    def standing(self, fixed: Sequence[Candidate]) -> FloatArray:
        return np.log(np.array([self._of(c)[0] for c in fixed]))

    def lift(self, request: AdRequest, slot: Slot, candidates: Candidates) -> FloatArray:
        return np.zeros(len(candidates))

    def topic_lifts(self, slot: Slot) -> None:
        return None

    def score(self, request: AdRequest, slot: Slot, candidates: Candidates) -> Scores:
        rows = [self._of(c) for c in candidates]
        pctr = np.array([row[0] for row in rows])
        return Scores(
            text=pctr * 10,
            pctr=pctr,
            pcvr=np.array([c.pcvr for c in candidates]),
            sd=np.array([row[1] for row in rows]),
        )

    def _of(self, candidate: Candidate) -> tuple[float, float]:
        return self.table.get(candidate.creative_id, (0.01, 0.0))
