"""One ad slot: what filled it and what it earned, why it stayed empty, the tag that fills it, its floor."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from adplatform.insights import charts, figures, queries
from adplatform.insights.queries import Range, Totals
from adplatform.insights.traffic import no_ad_words
from adplatform.inventory import services
from adplatform.inventory.forms import SlotForm
from adplatform.inventory.models import AdSlot, Site
from adplatform.inventory.queries import site_for, slot_for
from adplatform.portal import pages, ranges
from adplatform.portal.messages import success
from adplatform.portal.publisher.numbers import results


@pages.object_page(slot_for, lambda slot: slot.site.publisher)
def slot_page(request: HttpRequest, slot: AdSlot) -> HttpResponse:
    publisher = slot.site.publisher
    range = ranges.asked(request, publisher)
    numbers = results(publisher, range, slot_id=slot.pk)
    context = {
        "section": "sites",
        "organisation": publisher,
        "membership": pages.current(request),
        "slot": slot,
        "range": range,
        "outcomes": [
            (no_ad_words(reason) if reason else _("Filled with a paid ad"), n, share)
            for reason, n, share in numbers["fill"].parts()
        ],
        "categories": _categories(slot, range),
        "snippet": snippet(slot),
        "chart_url": f"{reverse('portal:publisher_slot_chart', args=[slot.public_id])}?{range.query}",
    }
    return render(request, "portal/publisher/slot.html", context | numbers)


def _categories(slot: AdSlot, range: Range) -> list[tuple[str, Totals]]:
    """What advertisers of each category paid for this slot, those that earned most first."""
    found = queries.by_category(slot.site.publisher, range, slot_id=slot.pk)
    named = [(category or _("No category"), total) for category, total in found.items()]
    return sorted(named, key=lambda pair: -pair[1].earned_micros)


def snippet(slot: AdSlot) -> str:
    """What the publisher puts into a page: the place, and once per page the script."""
    return f'<div data-adslot="{slot.public_id}"></div>\n<script async src="{settings.ADS_URL}/tag/v1.js"></script>'


@pages.object_page(slot_for, lambda slot: slot.site.publisher)
def chart(request: HttpRequest, slot: AdSlot) -> HttpResponse:
    publisher = slot.site.publisher
    range = ranges.asked(request, publisher)
    figure = charts.earned_figure(
        queries.by_day(publisher, range, slot_id=slot.pk),
        queries.fill_by_day(publisher, range, slot_id=slot.pk),
        currency=publisher.currency,
    )
    return JsonResponse(figure)


@pages.object_page(site_for, lambda site: site.publisher, edit=True)
def new_slot(request: HttpRequest, site: Site) -> HttpResponse:
    return _form(request, site, None)


@pages.object_page(slot_for, lambda slot: slot.site.publisher, edit=True)
def edit_slot(request: HttpRequest, slot: AdSlot) -> HttpResponse:
    return _form(request, slot.site, slot)


def _form(request: HttpRequest, site: Site, slot: AdSlot | None) -> HttpResponse:
    form = SlotForm(request.POST or None, site=site, slot=slot)
    if form.is_valid():
        saved = services.save_slot(user=pages.person(request), site=site, slot=slot, **form.fields_of_slot())
        success(request, _("“%(name)s” is saved and serves within seconds.") % {"name": saved.name})
        return redirect("portal:publisher_slot", saved.public_id)
    context = {
        "section": "sites",
        "organisation": site.publisher,
        "site": site,
        "slot": slot,
        "form": form,
        "symbol": figures.symbol(site.currency),
    }
    return render(request, "portal/publisher/slot_edit.html", context, status=422 if form.errors else 200)
