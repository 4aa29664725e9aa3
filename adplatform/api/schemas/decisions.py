"""Why an ad was shown, as the API writes it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ninja import Schema


class ReasonOut(Schema):
    """One part of an explanation in words; `effect` is −2 (strongly against) … 2 (strongly for)."""

    group: str
    title: str
    text: str
    effect: int | None


class ExplanationOut(Schema):
    """Why an ad was shown. Log odds: base + Σ groups + level = logit(pctr); eCPM amounts in micros. `factor`: by how much
    rules of the platform and a site's wish for variety let its worth count when ads were ranked (1 without)."""

    decision_id: UUID
    served_at: datetime
    creative_id: UUID
    line_item_id: UUID
    pctr: float | None
    propensity: float | None
    explored: bool
    factor: float
    is_exact: bool
    base: float
    level: float
    groups: dict[str, float]
    bid_micros: int
    price_micros: int
    floor_micros: int
    runner_up_micros: int
    reasons: list[ReasonOut]
