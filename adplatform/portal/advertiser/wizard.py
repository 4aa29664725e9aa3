"""A new campaign in four steps: goal and budget, audience and bid, creative, review. The draft is kept in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Membership
from adplatform.campaigns import caps, services
from adplatform.campaigns.forms import CampaignForm, CreativeForm, LineItemForm
from adplatform.campaigns.models import Campaign, Creative, LineItem, Status
from adplatform.campaigns.queries import campaign_for, creatives_of, line_items_of
from adplatform.core import clock
from adplatform.portal import pages
from adplatform.portal.advertiser.words import targeting_words
from adplatform.portal.messages import success

STEPS: list[tuple[str, str | Promise]] = [
    ("setup_goal", gettext_lazy("Goal & budget")),
    ("setup_audience", gettext_lazy("Audience & bid")),
    ("setup_creative", gettext_lazy("Creative")),
    ("setup_review", gettext_lazy("Review")),
]
WRONG = 422  # the form comes back with what is wrong beside each field


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    label: str
    url: str
    state: str  # done, now or next


def steps(name: str, campaign: Campaign | None) -> list[Step]:
    """The four steps with where the person is. Those that were filled in can be opened again."""
    filled = _filled(campaign)
    listed = []
    for number, (key, label) in enumerate(STEPS, start=1):
        state = "now" if key == name else "done" if key in filled else "next"
        url = reverse(f"portal:{key}", args=[campaign.public_id]) if campaign and state == "done" else ""
        listed.append(Step(number, str(label), url, state))
    return listed


def _filled(campaign: Campaign | None) -> set[str]:
    if campaign is None:
        return set()
    line_item = _first_line_item(campaign)
    creative = _first_creative(line_item) if line_item else None
    return (
        {"setup_goal"}
        | ({"setup_audience"} if line_item else set())
        | ({"setup_creative"} if creative else set())
    )


def status(form: CampaignForm | LineItemForm | CreativeForm) -> int:
    return WRONG if form.is_bound and form.errors else 200


def _step(
    request: HttpRequest,
    name: str,
    campaign: Campaign | None,
    form: CampaignForm | LineItemForm | CreativeForm,
    **more: object,
) -> HttpResponse:
    """The page of a step, with what is wrong beside each field."""
    context = {
        "section": "campaigns",
        "form": form,
        "steps": steps(name, campaign),
        "campaign": campaign,
        **more,
    }
    return render(request, f"portal/{name}.html", context, status=status(form))


@pages.page(pages.ADVERTISER, edit=True)
def goal(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation, at = membership.organisation, clock.now()
    form = CampaignForm(request.POST or None, organisation=organisation, at=at)
    if form.is_valid():
        campaign = services.create_campaign(
            user=pages.person(request), organisation=organisation, at=at, **form.fields_of_campaign()
        )
        return redirect("portal:setup_audience", campaign.public_id)
    return _step(request, "setup_goal", None, form, organisation=organisation)


@pages.object_page(campaign_for, lambda campaign: campaign.organisation, edit=True)
def goal_again(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    if campaign.status != Status.DRAFT:
        return redirect("portal:campaign_edit", campaign.public_id)
    organisation, at = campaign.organisation, clock.now()
    form = CampaignForm(request.POST or None, organisation=organisation, at=at, campaign=campaign)
    if form.is_valid():
        services.update_campaign(
            user=pages.person(request), campaign=campaign, at=at, **form.fields_of_campaign()
        )
        return redirect("portal:setup_audience", campaign.public_id)
    return _step(request, "setup_goal", campaign, form, organisation=organisation)


@pages.object_page(campaign_for, lambda campaign: campaign.organisation, edit=True)
def audience(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    line_item = _first_line_item(campaign)
    form = LineItemForm(request.POST or None, campaign=campaign, line_item=line_item)
    if form.is_valid():
        services.save_line_item(
            user=pages.person(request), campaign=campaign, line_item=line_item, **form.fields_of_line_item()
        )
        return redirect("portal:setup_creative", campaign.public_id)
    return _step(request, "setup_audience", campaign, form)


@pages.object_page(campaign_for, lambda campaign: campaign.organisation, edit=True)
def creative(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    line_item = _first_line_item(campaign)
    if line_item is None:
        return redirect("portal:setup_audience", campaign.public_id)
    first = _first_creative(line_item)
    form = CreativeForm(request.POST or None, creative=first)
    if form.is_valid():
        services.save_creative(
            user=pages.person(request), line_item=line_item, creative=first, **form.fields_of_creative()
        )
        return redirect("portal:setup_review", campaign.public_id)
    return _step(request, "setup_creative", campaign, form)


@pages.object_page(campaign_for, lambda campaign: campaign.organisation, edit=True)
def review(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    at = clock.now()
    problems = services.launch_problems(campaign, at)
    if request.method == "POST" and not problems:
        services.launch(user=pages.person(request), campaign=campaign, at=at)
        success(
            request,
            _("“%(name)s” is launched. It serves once its creative is approved.") % {"name": campaign},
        )
        return redirect("portal:campaign", campaign.public_id)
    context = {
        "section": "campaigns",
        "organisation": campaign.organisation,
        "campaign": campaign,
        "steps": steps("setup_review", campaign),
        "line_items": [(item, targeting_words(item)) for item in line_items_of(campaign)],
        "creatives": creatives_of(campaign),
        "cap": caps.words(campaign),
        "last_day": campaign.end_at - timedelta(seconds=1) if campaign.end_at else None,
        "problems": problems,
    }
    return render(
        request, "portal/setup_review.html", context, status=WRONG if request.method == "POST" else 200
    )


def _first_line_item(campaign: Campaign) -> LineItem | None:
    return campaign.line_items.exclude(status=Status.ARCHIVED).order_by("pk").first()


def _first_creative(line_item: LineItem) -> Creative | None:
    return line_item.creatives.exclude(status=Status.ARCHIVED).order_by("pk").first()
