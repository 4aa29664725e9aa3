"""Changing what runs: a campaign's money and dates, its line items. Raising a budget is asked for a second time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Membership, Organisation
from adplatform.campaigns import services
from adplatform.campaigns.caps import CapFields
from adplatform.campaigns.forms import CampaignForm, LineItemForm
from adplatform.campaigns.models import Campaign, Creative, LineItem, Status
from adplatform.campaigns.queries import campaign_for, line_item_for
from adplatform.core import clock
from adplatform.core.money import format_micros
from adplatform.insights.metrics import Range
from adplatform.insights.similar import AdsLike, ads_like
from adplatform.learning import suggestions
from adplatform.portal import pages
from adplatform.portal.advertiser.wizard import status
from adplatform.portal.messages import error, success

LIKENESS_DAYS = 30
RAISED: dict[str, str | Promise] = {
    "daily_budget_micros": gettext_lazy("The daily budget rises from %(before)s to %(after)s."),
    "flight_budget_micros": gettext_lazy("The total budget rises from %(before)s to %(after)s."),
}


def owner_of_line_item(line_item: LineItem) -> Organisation:
    return line_item.campaign.organisation


def likeness(creatives: Sequence[Creative], line_item: LineItem, *, at: datetime) -> AdsLike:
    """Ads like these of the line item, over the last 30 days."""
    campaign = line_item.campaign
    days = Range.last(LIKENESS_DAYS, zone=campaign.organisation.time_zone, at=at)
    return ads_like(creatives, organisation=campaign.organisation, category=campaign.category, range=days)


@pages.object_page(campaign_for, lambda campaign: campaign.organisation, edit=True)
def edit_campaign(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    organisation, at = campaign.organisation, clock.now()
    form = CampaignForm(request.POST or None, organisation=organisation, at=at, campaign=campaign)
    asked: list[str] = []
    if form.is_valid():
        asked = raised_in_words(form, campaign.currency)
        if not asked or "confirmed" in request.POST:
            return _save_campaign(request, campaign, form)
    context = {
        "section": "campaigns",
        "organisation": organisation,
        "campaign": campaign,
        "form": form,
        "asked": asked,
        "suggestion": suggestions.for_campaign(campaign),
    }
    return render(request, "portal/campaign_edit.html", context, status=status(form))


def _save_campaign(request: HttpRequest, campaign: Campaign, form: CampaignForm) -> HttpResponse:
    try:
        services.update_campaign(
            user=pages.person(request), campaign=campaign, at=form.at, **form.fields_of_campaign()
        )
    except services.CampaignError as refusal:
        error(request, str(refusal))
    else:
        success(request, _("“%(name)s” is saved.") % {"name": form.cleaned_data["name"]})
    return redirect("portal:campaign", campaign.public_id)


def raised_in_words(form: CampaignForm, currency: str) -> list[str]:
    """A sentence for each budget that lets more be spent than before."""

    def amount(micros: int | None) -> str:
        return _("no limit") if micros is None else format_micros(micros, currency)

    return [
        str(RAISED[name]) % {"before": amount(before), "after": amount(after)}
        for name, before, after in form.raised_budgets()
    ]


@pages.object_page(campaign_for, lambda campaign: campaign.organisation, edit=True)
def new_line_item(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    return _line_item(request, campaign, None)


@pages.object_page(line_item_for, owner_of_line_item, edit=True)
def edit_line_item(request: HttpRequest, line_item: LineItem) -> HttpResponse:
    return _line_item(request, line_item.campaign, line_item)


def _line_item(request: HttpRequest, campaign: Campaign, line_item: LineItem | None) -> HttpResponse:
    form = LineItemForm(request.POST or None, campaign=campaign, line_item=line_item)
    if form.is_valid():
        try:
            saved = services.save_line_item(
                user=pages.person(request),
                campaign=campaign,
                line_item=line_item,
                **form.fields_of_line_item(),
            )
        except services.CampaignError as refusal:
            form.add_error(None, str(refusal))
        else:
            success(request, _("“%(name)s” is saved.") % {"name": saved})
            if line_item is None:
                return redirect("portal:creative_new", saved.public_id)
            return redirect("portal:campaign", campaign.public_id)
    context: dict[str, Any] = {
        "section": "campaigns",
        "campaign": campaign,
        "line_item": line_item,
        "form": form,
        "likeness": likeness(list(line_item.creatives.all()), line_item, at=clock.now())
        if line_item
        else None,
    }
    return render(request, "portal/line_item_edit.html", context, status=status(form))


@require_POST
@pages.page(pages.ADVERTISER, edit=True)
def advertiser_cap(request: HttpRequest, membership: Membership) -> HttpResponse:
    """How often one person may see any ad of the advertiser, from its settings page."""
    form = CapFields(request.POST)
    if form.is_valid():
        services.set_advertiser_cap(
            user=pages.person(request), organisation=membership.organisation, **form.fields_of_cap()
        )
        success(request, _("The limit is saved."))
    else:
        error(request, " ".join(str(message) for messages in form.errors.values() for message in messages))
    return redirect("portal:settings")


@require_POST
@pages.object_page(line_item_for, owner_of_line_item, edit=True)
def line_item_status(request: HttpRequest, line_item: LineItem) -> HttpResponse:
    change = partial(services.set_line_item_status, line_item=line_item)
    return change_status(request, line_item, change, campaign=line_item.campaign)


def change_status(
    request: HttpRequest, thing: LineItem | Creative, change: Callable[..., object], *, campaign: Campaign
) -> HttpResponse:
    """Pause, resume or archive part of a campaign, and go back to the campaign's page."""
    wanted = request.POST.get("status", "")
    try:
        change(user=pages.person(request), status=services.wanted(wanted))
    except services.CampaignError as refusal:
        error(request, str(refusal))
    else:
        words = {"name": thing, "state": Status(wanted).label.lower()}
        success(request, _("“%(name)s” is %(state)s.") % words)
    return redirect("portal:campaign", campaign.public_id)
