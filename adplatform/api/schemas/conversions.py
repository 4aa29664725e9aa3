"""Conversions and their adjustments as the API reads them, and what became of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import AwareDatetime, Field

from adplatform.api.schemas.base import Read


class ConversionsIn(Read):
    """Up to 1,000 events; each is judged alone, so that one mistake rejects no other."""

    events: Annotated[list[Any], Field(min_length=1, max_length=1_000)]


class AdjustmentIn(Read):
    """What became of a conversion: `value_micros` is what it is worth now; without it, it is taken back."""

    event_id: Annotated[str, Field(max_length=120)]
    action: Annotated[str, Field(max_length=60)]
    adjustment_id: Annotated[str, Field(max_length=120)]
    occurred_at: AwareDatetime
    value_micros: Annotated[int, Field(ge=0, le=2**62, strict=True)] | None = None


class ConversionEvent(Read):
    event_id: Annotated[str, Field(min_length=1, max_length=120)]
    action: Annotated[str, Field(min_length=1, max_length=60)]
    occurred_at: AwareDatetime
    click_id: Annotated[str, Field(max_length=2_000)] = ""
    user_id: Annotated[str, Field(max_length=200)] = ""
    value_micros: Annotated[int, Field(ge=0, le=2**62, strict=True)] | None = None
    currency: Annotated[str, Field(max_length=3)] = ""


class AdjustmentsIn(Read):
    """Up to 1,000 adjustments; each is judged alone."""

    adjustments: Annotated[list[AdjustmentIn], Field(min_length=1, max_length=1_000)]


class ConversionResult(Schema):
    event_id: str
    status: Literal["recorded", "duplicate", "rejected"]
    reason: str
    attribution: str


class ConversionsOut(Schema):
    recorded: int
    duplicates: int
    rejected: int
    results: list[ConversionResult]
