"""Ad requests and events of a range: how they ended, and why some earn nothing."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from adplatform.console.access import operator_page
from adplatform.console.reading import scope
from adplatform.core import clock
from adplatform.events import dead_letters
from adplatform.insights import queries, variety
from adplatform.insights import traffic as quality
from adplatform.inventory.models import AdSlot

SHOWN_SLOTS = 50


@operator_page
def traffic(request: HttpRequest) -> HttpResponse:
    at = clock.now()
    chosen = scope(request, at)
    fill = queries.fill(None, chosen.range)
    impressions = quality.impressions_by_validity(chosen.range, currency=chosen.currency)
    clicks = quality.clicks_by_validity(chosen.range, currency=chosen.currency)
    context = {
        "section": "traffic",
        "scope": chosen,
        "fill": fill,
        "previous": queries.fill_before(None, chosen.range),
        "outcomes": [
            (quality.no_ad_words(reason) if reason else _("Served with a paid ad"), n, share)
            for reason, n, share in fill.parts()
        ],
        "kinds": [
            (_("Impressions"), impressions, _worded(impressions)),
            (_("Clicks"), clicks, _worded(clicks)),
        ],
        "variety": [
            (_("Advertisers"), variety.advertisers(None, at=at)),
            (_("Categories"), variety.categories(None, at=at)),
        ],
        "funnels": [(_("Impressions"), _funnel(impressions)), (_("Clicks"), _funnel(clicks))],
        "later": _later(impressions, clicks),
        "returned_micros": impressions.returned_micros + clicks.returned_micros,
        "dead_letters": dead_letters.count(),
        "impressions": impressions,
        "clicks": clicks,
        "slots": _slots(chosen.range),
        "shown_slots": SHOWN_SLOTS,
    }
    return render(request, "console/traffic.html", context)


def _funnel(validity: quality.Validity) -> list[tuple[str, int, float]]:
    asked = validity.events
    return [
        (quality.stage_words(stage), n, n / asked if asked else 0.0)
        for stage, n in validity.funnel()
        if asked
    ]


def _later(impressions: quality.Validity, clicks: quality.Validity) -> list[tuple[str, int, int, int]]:
    """(reason, impressions, clicks, micros given back) of what was counted first and found invalid afterwards, most first."""
    rows = [
        (
            quality.unbilled_words(reason),
            impressions.later.get(reason, 0),
            clicks.later.get(reason, 0),
            impressions.returned.get(reason, 0) + clicks.returned.get(reason, 0),
        )
        for reason in {*impressions.later, *clicks.later}
    ]
    return sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))


def _worded(validity: quality.Validity) -> list[tuple[str, int, float]]:
    return [
        (quality.unbilled_words(reason) if reason else _("Billed"), n, share)
        for reason, n, share in validity.parts()
    ]


def _slots(range: queries.Range) -> list[tuple[AdSlot, queries.Fill, str]]:
    """The busiest slots with their fill and the most frequent reason for no ad."""
    fills = sorted(queries.fill_by_slot(None, range).items(), key=lambda pair: -pair[1].requests)[
        :SHOWN_SLOTS
    ]
    slots = AdSlot.objects.select_related("site__publisher").in_bulk([slot_id for slot_id, _fill in fills])
    rows = []
    for slot_id, fill in fills:
        if slot := slots.get(slot_id):
            top = max(fill.reasons, key=lambda reason: fill.reasons[reason], default="")
            rows.append((slot, fill, quality.no_ad_words(top) if top else ""))
    return rows
