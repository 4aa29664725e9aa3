"""The advertiser's first page: results with the period before, their course, what needs attention, campaigns."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from adplatform.accounts.models import Membership, Organisation
from adplatform.campaigns.models import Creative
from adplatform.campaigns.queries import campaigns_of, creatives_of_organisation
from adplatform.core import clock
from adplatform.core.money import MICROS, format_micros
from adplatform.core.templatetags import ui
from adplatform.insights import queries
from adplatform.insights.queries import Range, Totals, change
from adplatform.portal import pages, ranges
from adplatform.portal.advertiser import attention
from adplatform.portal.advertiser.tables import campaign_rows


@pages.page(pages.ADVERTISER)
def overview(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation = membership.organisation
    range = ranges.asked(request, organisation)
    rows = campaign_rows(organisation, campaigns_of(organisation), range, at=clock.now())
    rejected = creatives_of_organisation(organisation, review=Creative.Review.REJECTED)
    context = {
        "section": "overview",
        "organisation": organisation,
        "membership": membership,
        "range": range,
        "rows": rows,
        "notices": attention.notices(rows, rejected),
        "chart_url": f"{reverse('portal:chart_roi')}?{range.query}",
    }
    return render(request, "portal/overview.html", context | results(organisation, range))


def results(organisation: Organisation, range: Range, **filters: object) -> dict[str, Any]:
    """Totals, the period before, the days and the tiles of a range: the same numbers in every part of a page."""
    now = queries.totals(organisation, range, **filters)
    before = queries.totals_before(organisation, range, **filters)
    days = queries.by_day(organisation, range, **filters)
    return {
        "now": now,
        "before": before,
        "days": days,
        "tiles": tiles(now, before, list(days.values()), organisation.currency),
        "previous": range.previous(),
        "one_unit": format_micros(MICROS, organisation.currency, digits=0),
        "per_unit": round(now.roas * MICROS) if now.roas is not None else None,
        "change_words": growth(now, before),
    }


def growth(now: Totals, before: Totals) -> str:
    """How revenue and spend moved against the period before; empty where there is nothing to compare with."""
    revenue = change(now.revenue_micros, before.revenue_micros)
    spend = change(now.spend_micros, before.spend_micros)
    if revenue is None or spend is None:
        return ""
    return _("Revenue %(revenue)s while spend %(spend)s.") % {
        "revenue": _moved(revenue),
        "spend": _moved(spend),
    }


def _moved(by: float) -> str:
    words = {"n": f"{abs(by):.0%}"}
    if round(by, 2) == 0:
        return _("stayed the same")
    return _("grew by %(n)s") % words if by > 0 else _("fell by %(n)s") % words


def tiles(now: Totals, before: Totals, days: list[Totals], currency: str) -> list[dict[str, Any]]:
    """Spend, revenue, ROAS, conversions and their cost. More spend is neither good nor bad news."""

    def tile(label: str, value: str, name: str, better: str = "up") -> dict[str, Any]:
        return {
            "label": label,
            "value": value,
            "change": change(getattr(now, name), getattr(before, name)),
            "better": better,
            "series": [getattr(day, name) for day in days],
        }

    return [
        tile(_("Spend"), ui.money_short(now.spend_micros, currency), "spend_micros", "neutral"),
        tile(_("Attributed revenue"), ui.money_short(now.revenue_micros, currency), "revenue_micros"),
        tile(_("ROAS"), ui.times(now.roas), "roas"),
        tile(_("Conversions"), ui.count(now.conversions), "conversions"),
        tile(_("Cost per conversion"), ui.money_short(now.cpa_micros, currency), "cpa_micros", "down"),
    ]
