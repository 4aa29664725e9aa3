"""The list of campaigns, one campaign's page, and its pause, resume and archive."""

from __future__ import annotations

from datetime import timedelta

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Membership
from adplatform.campaigns import caps, queries, services
from adplatform.campaigns.models import Campaign, Status
from adplatform.core import clock
from adplatform.core.money import BASIS_POINTS
from adplatform.insights import delivery, explain
from adplatform.insights.queries import totals
from adplatform.insights.status import campaign_status as status_of
from adplatform.portal import pages, ranges
from adplatform.portal.advertiser.overview import results
from adplatform.portal.advertiser.tables import campaign_rows, creative_rows, line_item_rows
from adplatform.portal.advertiser.words import targeting_words
from adplatform.portal.messages import error, success

PER_PAGE = 50
SAID = {
    Status.ACTIVE: _("“%(name)s” is active."),
    Status.PAUSED: _("“%(name)s” is paused."),
    Status.ARCHIVED: _("“%(name)s” is archived."),
}


@pages.page(pages.ADVERTISER)
def campaign_list(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation = membership.organisation
    range = ranges.asked(request, organisation)
    search = request.GET.get("q", "").strip()
    archived = request.GET.get("archived") == "1"
    found = queries.campaigns_of(organisation, search=search, archived=archived)
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    rows = campaign_rows(organisation, page, range, at=clock.now())
    context = {
        "section": "campaigns",
        "organisation": organisation,
        "membership": membership,
        "range": range,
        "rows": rows,
        "page": page,
        "search": search,
        "archived": archived,
        "total": totals(organisation, range, campaign_id=[row.campaign.pk for row in rows]),
    }
    return render(request, "portal/campaigns.html", context)


@pages.object_page(queries.campaign_for, lambda campaign: campaign.organisation)
def campaign_page(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    organisation, membership = campaign.organisation, pages.role(request)
    range = ranges.asked(request, organisation)
    line_items = line_item_rows(queries.line_items_of(campaign), organisation, range)
    told = explain.why([row.line_item.pk for row in line_items])
    funnels = delivery.by_line_item(organisation, range, campaign_id=campaign.pk)
    whole = delivery.funnel(organisation, range, campaign_id=campaign.pk)
    context = {
        "section": "campaigns",
        "organisation": organisation,
        "membership": membership,
        "campaign": campaign,
        "why": [(row.line_item, told[row.line_item.pk]) for row in line_items if row.line_item.pk in told],
        "funnel": whole,
        "advice": delivery.advice(whole),
        "funnels": [
            (row.line_item, funnels[row.line_item.pk]) for row in line_items if row.line_item.pk in funnels
        ],
        "delivery_url": f"{reverse('portal:campaign_delivery_chart', args=[campaign.public_id])}?{range.query}",
        "status": status_of(campaign, clock.now()),
        "range": range,
        "line_items": [(row, targeting_words(row.line_item)) for row in line_items],
        "creatives": creative_rows(queries.creatives_of(campaign), organisation, range),
        "chart_url": f"{reverse('portal:campaign_chart', args=[campaign.public_id])}?{range.query}",
        "cap": caps.words(campaign),
        "target_roas": campaign.target_roas_bp / BASIS_POINTS if campaign.target_roas_bp else None,
        "last_day": campaign.end_at - timedelta(seconds=1) if campaign.end_at else None,
        "can_edit": membership.may_edit and campaign.source in services.SERVED_SOURCES,
    }
    return render(
        request, "portal/campaign.html", context | results(organisation, range, campaign_id=campaign.pk)
    )


@require_POST
@pages.object_page(queries.campaign_for, lambda campaign: campaign.organisation, edit=True)
def campaign_status(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    status = request.POST.get("status", "")
    try:
        services.set_campaign_status(
            user=pages.person(request), campaign=campaign, status=services.wanted(status), at=clock.now()
        )
    except services.CampaignError as refusal:
        error(request, str(refusal))
        return redirect("portal:campaign", campaign.public_id)
    success(request, str(SAID[Status(status)]) % {"name": campaign})
    return (
        redirect("portal:campaigns")
        if status == Status.ARCHIVED
        else redirect("portal:campaign", campaign.public_id)
    )
