"""A fact as those above events hear of it, once it is stored. No Django here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from .records import Served


class Fact(msgspec.Struct, frozen=True, gc=False):
    """An impression, view or click that was stored for the first time and counts (no bot, not late, no test), or what
    a visitor said of an ad.

    `pctr` is the probability of a click as it was predicted when the ad was served. `turn` and `is_given` belong to
    what visitors say (events.Feedback).
    """

    kind: str  # 'impression', 'view', 'click' or a kind of events.Feedback
    decision_id: str
    served_at: datetime
    occurred_at: datetime
    creative_id: int
    line_item_id: int
    slot_id: int
    visitor: str  # keyed pseudonym, '' without consent
    pctr: float = 0.0
    source: str = "live"
    advertiser_id: int = 0
    turn: int = 0
    is_given: bool = True

    @classmethod
    def of(cls, kind: str, served: Served, occurred_at: datetime, **more: Any) -> Fact:
        """What happened to a served ad; `more` are the fields that only this kind has."""
        return cls(
            kind=kind,
            decision_id=served.decision_id.hex(),
            served_at=served.served_at,
            occurred_at=occurred_at,
            creative_id=served.creative_id,
            line_item_id=served.line_item_id,
            slot_id=served.slot_id,
            visitor=served.visitor.hex(),
            source=served.source,
            advertiser_id=served.advertiser_id,
            **more,
        )
