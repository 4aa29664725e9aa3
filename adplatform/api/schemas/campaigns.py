"""Campaigns, line items, creatives and audiences as the API reads and writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AwareDatetime, Field, HttpUrl, TypeAdapter, field_validator, model_validator

from adplatform.api.schemas.base import Micros, Name, Read
from adplatform.campaigns.models import BidStrategy, Creative, LineItem, Status
from adplatform.decision import targeting as rules
from adplatform.inventory.models import AdFormat, CreativeAttribute

_url = TypeAdapter(HttpUrl)
CapWindow = Literal[3_600, 86_400, 604_800, 2_592_000]  # an hour, a day, a week, 30 days


class CapChange(Read):
    """How often one visitor may see it: impressions within the window; null means no limit."""

    cap_impressions: Annotated[int, Field(gt=0, le=10_000)] | None = None
    cap_window_seconds: CapWindow | None = None


class CapOut(Schema):
    cap_impressions: int | None
    cap_window_seconds: int


class CampaignChange(CapChange):
    """Fields to carry over; a budget of null means no such limit."""

    name: Name | None = None
    bid_strategy: BidStrategy | None = None
    daily_budget_micros: Micros | None = None
    flight_budget_micros: Micros | None = None
    target_roas_bp: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    start_at: AwareDatetime | None = None
    end_at: AwareDatetime | None = None
    category: Annotated[str, Field(max_length=60)] | None = None


class CampaignNew(CampaignChange):
    """A draft: it serves once it is launched and a creative is approved."""

    name: Name
    start_at: AwareDatetime
    bid_strategy: BidStrategy = BidStrategy.MANUAL_CPC
    category: Annotated[str, Field(max_length=60)] = ""

    @model_validator(mode="after")
    def _dates_are_in_order(self) -> CampaignNew:
        if self.end_at is not None and self.end_at <= self.start_at:
            raise ValueError("end_at must lie after start_at.")
        if self.bid_strategy == BidStrategy.TARGET_ROAS and self.target_roas_bp is None:
            raise ValueError("target_roas needs target_roas_bp.")
        return self


class CampaignOut(CapOut):
    public_id: UUID
    name: str
    status: Status
    bid_strategy: BidStrategy
    currency: str
    daily_budget_micros: int | None
    flight_budget_micros: int | None
    target_roas_bp: int | None
    start_at: datetime
    end_at: datetime | None
    category: str
    source: str
    created_at: datetime
    updated_at: datetime


class StatusChange(Read):
    status: Literal["active", "paused", "archived"]


class Targeted(Read):
    """Targeting as docs/decision.md describes it; each rule is checked, and named where it cannot be read."""

    @field_validator("targeting", check_fields=False)
    @classmethod
    def _in_stored_form(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        try:
            return rules.as_dict(rules.parse(value))
        except rules.TargetingError as error:
            raise ValueError(str(error)) from None


class LineItemChange(CapChange, Targeted):
    name: Name | None = None
    bid_micros: Micros | None = None
    pacing: LineItem.Pacing | None = None
    targeting: dict[str, Any] | None = None


class LineItemNew(LineItemChange):
    name: Name
    bid_micros: Micros


class LineItemOut(CapOut):
    public_id: UUID
    name: str
    status: Status
    bid_micros: int
    pacing: LineItem.Pacing
    targeting: dict[str, Any]


class CreativeChange(CapChange):
    """What a reviewer looks at: changing it sends the creative to review again."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    format: AdFormat | None = None
    width: Annotated[int, Field(ge=1, le=10_000)] | None = None
    height: Annotated[int, Field(ge=1, le=10_000)] | None = None
    headline: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    body: Annotated[str, Field(max_length=2_000)] | None = None
    call_to_action: Annotated[str, Field(max_length=40)] | None = None
    landing_url: Annotated[str, Field(max_length=2_000)] | None = None
    language: Annotated[str, Field(min_length=2, max_length=8)] | None = None
    attributes: list[CreativeAttribute] | None = None

    @field_validator("landing_url")
    @classmethod
    def _is_a_page(cls, value: str | None) -> str | None:
        if value is not None:
            _url.validate_python(value)
        return value


class CreativeNew(CreativeChange):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    headline: Annotated[str, Field(min_length=1, max_length=400)]
    landing_url: Annotated[str, Field(max_length=2_000)]


class CreativeOut(CapOut):
    public_id: UUID
    name: str
    format: AdFormat
    width: int
    height: int
    headline: str
    body: str
    call_to_action: str
    landing_url: str
    language: str
    attributes: list[str]
    status: Status
    review: Creative.Review
    review_note: str


class AudienceOut(Schema):
    """A segment; its id goes into `targeting.segment`. How many people it holds is not told."""

    id: int
    name: str
