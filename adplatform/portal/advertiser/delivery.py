"""What became of a line item's or a campaign's opportunities: the page of a line item, and figures as JSON."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from adplatform.campaigns.models import Campaign, LineItem
from adplatform.campaigns.queries import campaign_for, line_item_for
from adplatform.campaigns.services import SERVED_SOURCES
from adplatform.insights import delivery
from adplatform.portal import pages, ranges


@pages.object_page(line_item_for, lambda line_item: line_item.campaign.organisation)
def line_item_page(request: HttpRequest, line_item: LineItem) -> HttpResponse:
    organisation, membership = line_item.campaign.organisation, pages.role(request)
    range = ranges.asked(request, organisation)
    funnel = delivery.funnel(organisation, range, line_item_id=line_item.pk)
    obstacle = funnel.obstacle
    needs_bid = obstacle is not None and obstacle.outcome == "outbid"
    raise_by = delivery.raise_to_win(line_item, range) if needs_bid else None
    context = {
        "section": "campaigns",
        "organisation": organisation,
        "membership": membership,
        "campaign": line_item.campaign,
        "line_item": line_item,
        "range": range,
        "funnel": funnel,
        "advice": delivery.advice(funnel, raise_by=raise_by, line_item=line_item),
        "delivery_url": f"{reverse('portal:line_item_delivery_chart', args=[line_item.public_id])}?{range.query}",
        "can_edit": membership.may_edit and line_item.campaign.source in SERVED_SOURCES,
    }
    return render(request, "portal/line_item_delivery.html", context)


@pages.object_page(line_item_for, lambda line_item: line_item.campaign.organisation)
def line_item_figure(request: HttpRequest, line_item: LineItem) -> JsonResponse:
    organisation = line_item.campaign.organisation
    range = ranges.asked(request, organisation)
    found = delivery.funnel(organisation, range, line_item_id=line_item.pk)
    return JsonResponse(delivery.funnel_figure(found))


@pages.object_page(campaign_for, lambda campaign: campaign.organisation)
def campaign_figure(request: HttpRequest, campaign: Campaign) -> JsonResponse:
    range = ranges.asked(request, campaign.organisation)
    found = delivery.funnel(campaign.organisation, range, campaign_id=campaign.pk)
    return JsonResponse(delivery.funnel_figure(found))
