"""Rows of the advertiser's tables: things with their status and their numbers of a range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Campaign, Creative, LineItem, Status
from adplatform.insights import queries
from adplatform.insights.queries import Range, Totals, change
from adplatform.insights.status import CampaignStatus, campaign_statuses

NOTHING = Totals()


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """`before`: as many days before."""

    campaign: Campaign
    status: CampaignStatus
    now: Totals
    before: Totals

    @property
    def roas_change(self) -> float | None:
        return change(self.now.roas, self.before.roas)


def campaign_rows(
    organisation: Organisation, campaigns: Iterable[Campaign], range: Range, *, at: datetime
) -> list[CampaignRow]:
    """In the order of `campaigns`, from a handful of queries however many there are."""
    shown = list(campaigns)
    now = queries.by_campaign(organisation, range)
    is_comparable = queries.is_comparable(organisation, range)
    before = queries.by_campaign(organisation, range.previous()) if is_comparable else {}
    statuses = campaign_statuses(shown, at)
    return [
        CampaignRow(
            campaign=campaign,
            status=statuses[campaign.pk],
            now=now.get(campaign.pk, NOTHING),
            before=before.get(campaign.pk, NOTHING),
        )
        for campaign in shown
    ]


@dataclass(frozen=True, slots=True)
class LineItemRow:
    line_item: LineItem
    now: Totals

    @property
    def tone(self) -> str:
        return "ok" if self.line_item.status == Status.ACTIVE else "paused"


REVIEW_TONES = {
    Creative.Review.APPROVED: "ok",
    Creative.Review.PENDING: "learn",
    Creative.Review.REJECTED: "bad",
}


@dataclass(frozen=True, slots=True)
class CreativeRow:
    creative: Creative
    now: Totals

    @property
    def tone(self) -> str:
        if self.creative.status == Status.PAUSED:
            return "paused"
        return REVIEW_TONES[Creative.Review(self.creative.review)]

    @property
    def words(self) -> str:
        if self.creative.status == Status.PAUSED:
            return str(Status.PAUSED.label)
        return str(self.creative.get_review_display())


def creative_rows(
    creatives: Iterable[Creative], organisation: Organisation, range: Range
) -> list[CreativeRow]:
    numbers = queries.by_creative(organisation, range)
    return [CreativeRow(creative, numbers.get(creative.pk, NOTHING)) for creative in creatives]


def line_item_rows(
    line_items: Iterable[LineItem], organisation: Organisation, range: Range
) -> list[LineItemRow]:
    numbers = queries.by_line_item(organisation, range)
    return [LineItemRow(line_item, numbers.get(line_item.pk, NOTHING)) for line_item in line_items]
