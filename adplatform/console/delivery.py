"""What became of the opportunities of all line items: those with most of them, and one by one."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse

from adplatform.campaigns.models import LineItem
from adplatform.console.access import operator_page
from adplatform.console.reading import scope
from adplatform.core import clock
from adplatform.insights import delivery

SHOWN = 100


@operator_page
def line_items(request: HttpRequest) -> HttpResponse:
    chosen = scope(request, clock.now())
    funnels = delivery.by_line_item(None, chosen.range)
    busiest = sorted(funnels, key=lambda pk: -funnels[pk].opportunities)[:SHOWN]
    known = LineItem.objects.select_related("campaign__organisation").in_bulk(busiest)
    context = {
        "section": "delivery",
        "scope": chosen,
        "rows": [(known[pk], funnels[pk]) for pk in busiest if pk in known],
        "shown": SHOWN,
        "total": len(funnels),
    }
    return render(request, "console/delivery.html", context)


@operator_page
def line_item(request: HttpRequest, public_id: UUID) -> HttpResponse:
    chosen = scope(request, clock.now())
    found = _line_item(public_id)
    funnel = delivery.funnel(None, chosen.range, line_item_id=found.pk)
    context = {
        "section": "delivery",
        "scope": chosen,
        "line_item": found,
        "funnel": funnel,
        "advice": delivery.advice(funnel),
        "delivery_url": f"{reverse('console:delivery_chart', args=[public_id])}?{chosen.query}",
    }
    return render(request, "console/line_item_delivery.html", context)


@operator_page
def chart(request: HttpRequest, public_id: UUID) -> JsonResponse:
    chosen = scope(request, clock.now())
    found = delivery.funnel(None, chosen.range, line_item_id=_line_item(public_id).pk)
    return JsonResponse(delivery.funnel_figure(found))


def _line_item(public_id: UUID) -> LineItem:
    return get_object_or_404(LineItem.objects.select_related("campaign__organisation"), public_id=public_id)
