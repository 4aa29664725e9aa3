"""The publisher's first page: requests, fill, what was earned, by day and by slot."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from adplatform.accounts.models import Membership
from adplatform.insights import charts, queries
from adplatform.insights.export import PUBLISHER_COLUMNS, csv_response, totals_cells
from adplatform.inventory.queries import slots_of
from adplatform.portal import pages, ranges
from adplatform.portal.publisher.numbers import results, slot_rows


@pages.page(pages.PUBLISHER)
def overview(request: HttpRequest, membership: Membership) -> HttpResponse:
    publisher = membership.organisation
    range = ranges.asked(request, publisher)
    rows = slot_rows(publisher, list(slots_of(publisher)), range)
    context = {
        "section": "overview",
        "organisation": publisher,
        "membership": membership,
        "range": range,
        "rows": sorted(rows, key=lambda row: -row.total.earned_micros),
        "chart_url": f"{reverse('portal:publisher_chart')}?{range.query}",
    }
    return render(request, "portal/publisher/overview.html", context | results(publisher, range))


@pages.page(pages.PUBLISHER)
def chart(request: HttpRequest, membership: Membership) -> HttpResponse:
    publisher = membership.organisation
    range = ranges.asked(request, publisher)
    figure = charts.earned_figure(
        queries.by_day(publisher, range), queries.fill_by_day(publisher, range), currency=publisher.currency
    )
    return JsonResponse(figure)


@pages.page(pages.PUBLISHER)
def export(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """The days of the page, with full micros, so that they add up."""
    publisher = membership.organisation
    range = ranges.asked(request, publisher)
    fills = queries.fill_by_day(publisher, range)
    rows = [
        [
            day.isoformat(),
            publisher.currency,
            fills[day].requests,
            fills[day].rate,
            *totals_cells(total, PUBLISHER_COLUMNS),
        ]
        for day, total in queries.by_day(publisher, range).items()
    ]
    header = ["day", "currency", "requests", "fill_rate", *PUBLISHER_COLUMNS]
    return csv_response(f"earnings-{range.start_date}-{range.end_date}", header, rows)
