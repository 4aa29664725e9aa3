"""What the API reads and writes. Amounts are integer micros of the organisation's currency, times carry a zone."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AwareDatetime, ConfigDict, Field, HttpUrl, TypeAdapter, field_validator, model_validator

from adplatform.campaigns.models import BidStrategy, Creative, LineItem, Status
from adplatform.decision import targeting as rules
from adplatform.inventory import passback as passbacks
from adplatform.inventory.models import AdFormat, CreativeAttribute, Fallback

MOST_MICROS = 10**15  # a billion units: more is a mistake in the unit

Name = Annotated[str, Field(min_length=1, max_length=120)]
Micros = Annotated[int, Field(gt=0, le=MOST_MICROS, strict=True)]
_url = TypeAdapter(HttpUrl)


class Read(Schema):
    """What is asked of us: an unknown field is a mistake, not something to pass over."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="after")
    @classmethod
    def _text_can_be_stored(cls, value: Any) -> Any:
        """PostgreSQL holds every character but NUL."""
        if isinstance(value, str) and "\x00" in value:
            raise ValueError("Text cannot hold the character NUL.")
        return value


class OrganisationOut(Schema):
    public_id: UUID
    name: str
    kind: str
    currency: str
    time_zone: str


# --- campaigns --------------------------------------------------------------------------------------------------------


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


# --- inventory --------------------------------------------------------------------------------------------------------


class SiteOut(Schema):
    public_id: str
    name: str
    domain: str
    description: str
    category: str
    language: str
    currency: str
    is_active: bool
    ads_per_advertiser: int
    separates_categories: bool
    variety: float


class SiteChange(Read):
    """What the site demands; `variety` 0 to 1: how much less an ad counts whose advertiser a visitor saw lately."""

    ads_per_advertiser: Annotated[int, Field(ge=1, le=10)] | None = None
    separates_categories: bool | None = None
    variety: Annotated[float, Field(ge=0, le=1)] | None = None


class SlotChange(Read):
    name: Name | None = None
    format: AdFormat | None = None
    width: Annotated[int, Field(ge=1, le=10_000)] | None = None
    height: Annotated[int, Field(ge=1, le=10_000)] | None = None
    position: Annotated[int, Field(ge=1, le=1_000)] | None = None
    floor_micros: Annotated[int, Field(ge=0, le=MOST_MICROS)] | None = None
    is_active: bool | None = None
    ads_per_advertiser: Annotated[int, Field(ge=1, le=10)] | None = None
    fallback: Fallback | None = None
    passback: str | None = None

    @field_validator("passback")
    @classmethod
    def _loads_https_alone(cls, value: str | None) -> str | None:
        return None if value is None else passbacks.checked(value)


class SlotNew(SlotChange):
    name: Name


class SlotOut(Schema):
    public_id: str
    site: str = Field(alias="site.public_id")
    name: str
    format: AdFormat
    width: int
    height: int
    position: int
    floor_micros: int
    is_active: bool
    ads_per_advertiser: int | None
    fallback: Fallback
    passback: str


# --- reports ----------------------------------------------------------------------------------------------------------


class NumbersOut(Schema):
    """Sums and the ratios made of them; null where there was nothing to divide by."""

    impressions: int
    views: int
    clicks: int
    conversions: int
    spend_micros: int | None = None
    revenue_micros: int | None = None
    earned_micros: int | None = None
    ctr: float | None
    measurable: float | None
    viewability: float | None
    cvr: float | None = None
    cpc_micros: int | None = None
    cpm_micros: int | None = None
    cpa_micros: int | None = None
    ecpm_micros: int | None = None
    roas: float | None = None
    roi: float | None = None


class ReportRow(NumbersOut):
    """`key` is a day, a public id, or a category."""

    key: str
    name: str


class ReportOut(Schema):
    by: str
    start_date: date
    end_date: date
    time_zone: str
    currency: str
    total: NumbersOut
    rows: list[ReportRow]


class OutcomePart(Schema):
    """`outcome` is `won` or a reason why not; `share_bp` are basis points of the opportunities."""

    outcome: str
    opportunities: int
    share_bp: int


class FunnelOut(Schema):
    """Outcomes in shares that add up to 10,000, what was won first; `advice` is about the largest obstacle."""

    opportunities: int
    won: int
    outcomes: list[OutcomePart]
    advice: str


class DeliveryRow(FunnelOut):
    """`key` is a public id."""

    key: str
    name: str


class DeliveryOut(Schema):
    by: str
    start_date: date
    end_date: date
    time_zone: str
    total: FunnelOut
    rows: list[DeliveryRow]


# --- conversions ------------------------------------------------------------------------------------------------------


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
