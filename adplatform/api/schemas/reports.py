"""Numbers and delivery funnels as the API writes them."""

from __future__ import annotations

from datetime import date

from ninja import Schema


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
