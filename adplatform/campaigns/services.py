"""Changes to campaigns, line items and creatives.

Each one happens in one transaction together with its audit entry, the budgets that follow from it, and the notice
upon which a new snapshot is built, so that no part of it can be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.utils.translation import gettext as _

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.services import audit
from adplatform.campaigns.budgets import UNLIMITED, day_of
from adplatform.campaigns.models import AdvertiserCap, Budget, Campaign, Creative, LineItem, Status
from adplatform.core import outbox

SERVED_SOURCES = {"live", "demo"}
# What a reviewer looked at: changing any of it sends the creative to review again.
REVIEWED_FIELDS = {
    "format",
    "width",
    "height",
    "headline",
    "body",
    "call_to_action",
    "landing_url",
    "language",
    "attributes",
}
STEPS: Mapping[str, set[str]] = {
    Status.DRAFT: {Status.ACTIVE, Status.ARCHIVED},
    Status.ACTIVE: {Status.PAUSED, Status.ARCHIVED},
    Status.PAUSED: {Status.ACTIVE, Status.ARCHIVED},
    Status.ARCHIVED: set(),
}
VERBS = {Status.ACTIVE: "resumed", Status.PAUSED: "paused", Status.ARCHIVED: "archived"}


class CampaignError(Exception):
    """A change that the rules of campaigns refuse, in a sentence a person can act on."""


@transaction.atomic
def create_campaign(
    *, user: User | None, organisation: Organisation, at: datetime, **fields: Any
) -> Campaign:
    """A campaign in the organisation's currency; a draft unless `status` says otherwise."""
    campaign = Campaign.objects.create(organisation=organisation, currency=organisation.currency, **fields)
    ensure_budgets(campaign, day_of(at, organisation.time_zone))
    _record(user, campaign, "campaign.created", campaign, {})
    return campaign


@transaction.atomic
def update_campaign(*, user: User | None, campaign: Campaign, at: datetime, **fields: Any) -> Campaign:
    """Carry the given fields over; budgets follow from today on."""
    _require_served(campaign)
    campaign = (
        Campaign.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=campaign.pk)
    )
    if changes := _apply(campaign, fields):
        ensure_budgets(campaign, day_of(at, campaign.organisation.time_zone))
        _record(user, campaign, "campaign.changed", campaign, changes)
    return campaign


def ensure_budgets(campaign: Campaign, date: date) -> None:
    """Budget rows of the flight and of that day hold what the campaign says; what was spent stays."""
    for day, amount in ((None, campaign.flight_budget_micros), (date, campaign.daily_budget_micros)):
        Budget.objects.update_or_create(
            campaign=campaign, date=day, defaults={"amount_micros": UNLIMITED if amount is None else amount}
        )


@transaction.atomic
def launch(*, user: User | None, campaign: Campaign, at: datetime) -> Campaign:
    """Start a draft; it serves from the moment a creative is approved and its flight begins."""
    _require_served(campaign)
    _lock(campaign)
    if problems := launch_problems(campaign, at):
        raise CampaignError(" ".join(problems))
    changes = _apply(campaign, {"status": Status.ACTIVE})
    ensure_budgets(campaign, day_of(at, campaign.organisation.time_zone))
    _record(user, campaign, "campaign.launched", campaign, changes)
    return campaign


def launch_problems(campaign: Campaign, at: datetime) -> list[str]:
    """What a campaign lacks before it can be launched, each in a sentence."""
    problems = []
    if campaign.status != Status.DRAFT:
        problems.append(_("It is not a draft any more."))
    if campaign.daily_budget_micros is None and campaign.flight_budget_micros is None:
        problems.append(_("Set a budget, so that it is clear how much may be spent."))
    if campaign.end_at is not None and campaign.end_at <= at:
        problems.append(_("Its flight has ended: choose a later last day."))
    if not campaign.line_items.exclude(status=Status.ARCHIVED).exists():
        problems.append(_("Say who should see it and what you bid."))
    if not Creative.objects.filter(line_item__campaign=campaign).exclude(status=Status.ARCHIVED).exists():
        problems.append(_("Add at least one creative."))
    return problems


@transaction.atomic
def set_campaign_status(*, user: User | None, campaign: Campaign, status: str, at: datetime) -> Campaign:
    """Pause, resume or archive."""
    _require_served(campaign)
    if campaign.status == Status.DRAFT and status == Status.ACTIVE:
        return launch(user=user, campaign=campaign, at=at)
    _step(user, campaign, campaign, "campaign", status)
    return campaign


@transaction.atomic
def save_line_item(
    *, user: User | None, campaign: Campaign, line_item: LineItem | None = None, **fields: Any
) -> LineItem:
    """A new line item of the campaign, or a change to one."""
    _require_served(campaign)
    if line_item is None:
        line_item = LineItem.objects.create(campaign=campaign, **fields)
        _record(user, campaign, "line_item.created", line_item, {})
        return line_item
    _lock(line_item)
    if changes := _apply(line_item, fields):
        _record(user, campaign, "line_item.changed", line_item, changes)
    return line_item


@transaction.atomic
def set_line_item_status(*, user: User | None, line_item: LineItem, status: str) -> LineItem:
    _require_served(line_item.campaign)
    _step(user, line_item.campaign, line_item, "line_item", status)
    return line_item


@transaction.atomic
def save_creative(
    *, user: User | None, line_item: LineItem, creative: Creative | None = None, **fields: Any
) -> Creative:
    """A new creative, or a change to one; what a reviewer has not seen waits for review and does not serve."""
    _require_served(line_item.campaign)
    if creative is None:
        creative = Creative.objects.create(line_item=line_item, review=Creative.Review.PENDING, **fields)
        _record(user, line_item.campaign, "creative.created", creative, {})
        return creative
    _lock(creative)
    changes = _apply(creative, fields)
    if changes.keys() & REVIEWED_FIELDS:
        again = {
            "review": Creative.Review.PENDING,
            "review_note": "",
            "reviewed_by": None,
            "reviewed_at": None,
        }
        changes |= _apply(creative, again)
    if changes:
        _record(user, line_item.campaign, "creative.changed", creative, changes)
    return creative


@transaction.atomic
def set_creative_status(*, user: User | None, creative: Creative, status: str) -> Creative:
    campaign = creative.line_item.campaign
    _require_served(campaign)
    _step(user, campaign, creative, "creative", status)
    return creative


@transaction.atomic
def set_advertiser_cap(
    *, user: User | None, organisation: Organisation, cap_impressions: int | None, cap_window_seconds: int
) -> AdvertiserCap:
    """How often one person may see any ad of the advertiser; None: as often as its campaigns allow."""
    cap, _created = AdvertiserCap.objects.select_for_update().get_or_create(organisation=organisation)
    given = {"cap_impressions": cap_impressions, "cap_window_seconds": cap_window_seconds}
    changes = {
        name: [getattr(cap, name), value] for name, value in given.items() if getattr(cap, name) != value
    }
    if changes:
        AdvertiserCap.objects.filter(pk=cap.pk).update(**given)
        audit(
            user=user,
            organisation=organisation,
            action="organisation.capped",
            target=str(organisation),
            detail=changes,
        )
        outbox.write("snapshot", {"organisation_id": organisation.pk})
    cap.cap_impressions, cap.cap_window_seconds = cap_impressions, cap_window_seconds
    return cap


def wanted(status: str) -> str:
    """A status that somebody asked for by name."""
    if status not in VERBS:
        raise CampaignError(_("Say whether to resume, pause or archive."))
    return status


# --- what they share --------------------------------------------------------------------------------------------------


def _require_served(campaign: Campaign) -> None:
    if campaign.source not in SERVED_SOURCES:
        raise CampaignError(
            _("This campaign was imported from a data set: it can be looked at, not changed.")
        )


def _lock(thing: Model) -> None:
    """Hold the row and see it as it is now: a review or another person's change may have come in between."""
    thing.refresh_from_db(from_queryset=type(thing)._default_manager.select_for_update())


def _step(
    user: User | None, campaign: Campaign, thing: Campaign | LineItem | Creative, noun: str, status: str
) -> None:
    """One allowed change of status; asking for the present one changes nothing."""
    _lock(thing)
    if status == thing.status:
        return
    if status not in STEPS[thing.status]:
        raise CampaignError(
            _("“%(name)s” is %(state)s, which cannot become %(wanted)s.")
            % {
                "name": thing,
                "state": Status(thing.status).label.lower(),
                "wanted": Status(status).label.lower(),
            }
        )
    changes = _apply(thing, {"status": status})
    _record(user, campaign, f"{noun}.{VERBS[Status(status)]}", thing, changes)


def _apply(thing: Model, fields: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Set what differs and save that; returns {"field": [before, after]}."""
    changes = {
        name: [getattr(thing, name), value] for name, value in fields.items() if getattr(thing, name) != value
    }
    for name, (_before, after) in changes.items():
        setattr(thing, name, after)
    if changes:
        thing.save(update_fields=[*changes, "updated_at"])
    return changes


def _record(
    user: User | None, campaign: Campaign, action: str, target: Model, changes: Mapping[str, Any]
) -> None:
    detail = {name: [_plain(value) for value in pair] for name, pair in changes.items()}
    if target is not campaign:
        detail["campaign"] = [campaign.name]
    audit(user=user, organisation=campaign.organisation, action=action, target=str(target), detail=detail)
    outbox.write("snapshot", {"campaign_id": campaign.pk})


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    return value if isinstance(value, str | int | float | bool | dict | list | None) else str(value)
