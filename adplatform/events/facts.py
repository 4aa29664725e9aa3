"""A fact as those above events hear of it, once it is stored. No Django here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Fact:
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
