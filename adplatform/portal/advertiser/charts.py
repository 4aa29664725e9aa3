"""Figures of the advertiser's pages as JSON, from the same numbers as the tables beside them."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, JsonResponse

from adplatform.accounts.models import Membership, Organisation
from adplatform.campaigns.models import Campaign, LineItem
from adplatform.campaigns.queries import campaign_for, line_item_for
from adplatform.core import clock
from adplatform.insights import charts, explain, queries
from adplatform.insights.metrics import Range
from adplatform.portal import pages, ranges


@pages.page(pages.ADVERTISER)
def roi(request: HttpRequest, membership: Membership) -> JsonResponse:
    return _roi(request, membership.organisation)


@pages.object_page(campaign_for, lambda campaign: campaign.organisation)
def campaign_roi(request: HttpRequest, campaign: Campaign) -> JsonResponse:
    return _roi(request, campaign.organisation, campaign_id=campaign.pk)


@pages.object_page(campaign_for, lambda campaign: campaign.organisation)
def campaign_pace(_request: HttpRequest, campaign: Campaign) -> JsonResponse:
    """Today's spend by hour beside an even pace to the day's budget."""
    organisation = campaign.organisation
    at: datetime = clock.now()
    hours = queries.by_hour(
        organisation, Range.last(1, zone=organisation.time_zone, at=at), campaign_id=campaign.pk
    )
    elapsed = {hour: total for hour, total in hours.items() if hour <= at}
    due_micros = (campaign.daily_budget_micros or 0) * len(elapsed) // len(hours)
    figure = charts.spend_pace_figure(
        elapsed, amount_micros=due_micros, currency=campaign.currency, zone=organisation.time_zone
    )
    return JsonResponse(figure)


@pages.object_page(line_item_for, lambda line_item: line_item.campaign.organisation)
def line_item_why(_request: HttpRequest, line_item: LineItem) -> JsonResponse:
    """What moved the odds of a click on this line item's ads."""
    told = explain.why([line_item.pk]).get(line_item.pk)
    return JsonResponse(explain.influence_figure(told.parts if told else []))


def _roi(request: HttpRequest, organisation: Organisation, **filters: object) -> JsonResponse:
    range = ranges.asked(request, organisation)
    days = queries.by_day(organisation, range, **filters)
    before = queries.by_day(organisation, range.previous(), **filters)
    return JsonResponse(charts.roi_figure(days, before, currency=organisation.currency))
