"""What an advertiser should look at first: things that keep campaigns from serving, each with the next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from adplatform.campaigns.models import Creative, Status
from adplatform.insights.status import Tone
from adplatform.portal.advertiser.tables import CampaignRow

MOST = 4


@dataclass(frozen=True, slots=True)
class Notice:
    """`tone` is bad (nothing serves), warn (less than it could) or empty (a hint)."""

    tone: str
    symbol: str
    title: str
    text: str
    action: str
    url: str


def notices(rows: Sequence[CampaignRow], rejected: QuerySet[Creative]) -> list[Notice]:
    """The worst first."""
    shown = list(rejected[:MOST])
    told = {creative.line_item.campaign_id for creative in shown}
    found = [*_rejected(shown), *_statuses([row for row in rows if row.campaign.pk not in told])]
    order = {"bad": 0, "warn": 1, "": 2}
    return sorted(found, key=lambda notice: order[notice.tone])


def _rejected(creatives: Sequence[Creative]) -> list[Notice]:
    return [
        Notice(
            tone="bad",
            symbol="image-off",
            title=_("“%(name)s” was rejected") % {"name": creative.name},
            text=creative.review_note or _("The reviewer gave no reason."),
            action=_("Change it"),
            url=reverse("portal:creative_edit", args=[creative.public_id]),
        )
        for creative in creatives
    ]


def _statuses(rows: Sequence[CampaignRow]) -> list[Notice]:
    found = []
    for row in rows:
        notice = _of_draft(row) or _of_status(row)
        if notice:
            found.append(notice)
    return found


def _of_draft(row: CampaignRow) -> Notice | None:
    if row.campaign.status != Status.DRAFT:
        return None
    return Notice(
        tone="",
        symbol="pencil",
        title=_("“%(name)s” is still a draft") % {"name": row.campaign},
        text=_("Nothing is shown or spent until you launch it."),
        action=_("Continue"),
        url=reverse("portal:setup_review", args=[row.campaign.public_id]),
    )


def _of_status(row: CampaignRow) -> Notice | None:
    if row.status.tone not in {Tone.BAD, Tone.WARN}:
        return None
    is_bad = row.status.tone == Tone.BAD
    page = "portal:campaign" if is_bad else "portal:campaign_edit"
    return Notice(
        tone=row.status.tone.value,
        symbol="circle-alert" if is_bad else "wallet",
        title=f"{row.campaign}: {row.status.words}",
        text=row.status.why,
        action=_("Open campaign") if is_bad else _("Review budget"),
        url=reverse(page, args=[row.campaign.public_id]),
    )
