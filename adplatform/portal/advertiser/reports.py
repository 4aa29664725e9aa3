"""Numbers of a range by one breakdown, as a table and as the same table in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Membership, Organisation
from adplatform.campaigns.models import Campaign, Creative, LineItem
from adplatform.insights import export as files
from adplatform.insights import queries
from adplatform.insights.queries import Range, Totals
from adplatform.inventory.queries import site_names, slot_names
from adplatform.portal import pages, ranges


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    totals: Totals


Names = Callable[[Iterable[int]], dict[int, str]]
Breakdown = Callable[[Organisation, Range], list[Line]]


def _campaigns(ids: Iterable[int]) -> dict[int, str]:
    return dict(Campaign.objects.filter(pk__in=ids).values_list("pk", "name"))


def _line_items(ids: Iterable[int]) -> dict[int, str]:
    found = LineItem.objects.filter(pk__in=ids).select_related("campaign")
    return {item.pk: f"{item.campaign} · {item}" for item in found}


def _creatives(ids: Iterable[int]) -> dict[int, str]:
    found = Creative.objects.filter(pk__in=ids).select_related("line_item__campaign")
    return {creative.pk: f"{creative.line_item.campaign} · {creative}" for creative in found}


def _by_day(organisation: Organisation, range: Range) -> list[Line]:
    found: dict[date, Totals] = queries.by_day(organisation, range)
    return [Line(day.isoformat(), totals) for day, totals in found.items()]


def _named(group: Callable[[Organisation, Range], dict[int, Totals]], names: Names) -> Breakdown:
    """Lines by name, those that spent most first."""

    def lines(organisation: Organisation, range: Range) -> list[Line]:
        found = group(organisation, range)
        called = names(found)
        listed = [Line(called.get(key, _("(no slot)")), totals) for key, totals in found.items()]
        return sorted(listed, key=lambda line: (-line.totals.spend_micros, line.label))

    return lines


def _by_category(organisation: Organisation, range: Range) -> list[Line]:
    found = queries.by_category(organisation, range)
    return [Line(category or _("(none)"), totals) for category, totals in found.items()]


BREAKDOWNS: dict[str, tuple[str | Promise, Breakdown]] = {
    "day": (gettext_lazy("Day"), _by_day),
    "campaign": (gettext_lazy("Campaign"), _named(queries.by_campaign, _campaigns)),
    "line_item": (gettext_lazy("Line item"), _named(queries.by_line_item, _line_items)),
    "creative": (gettext_lazy("Creative"), _named(queries.by_creative, _creatives)),
    "site": (gettext_lazy("Site"), _named(queries.by_site, site_names)),
    "slot": (gettext_lazy("Ad slot"), _named(queries.by_slot, slot_names)),
    "category": (gettext_lazy("Category"), _by_category),
}


@pages.page(pages.ADVERTISER)
def reports(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation = membership.organisation
    range = ranges.asked(request, organisation)
    by = _asked(request)
    label, breakdown = BREAKDOWNS[by]
    context = {
        "section": "reports",
        "organisation": organisation,
        "range": range,
        "by": by,
        "keep": f"by={by}",
        "label": label,
        "breakdowns": [(key, name) for key, (name, _lines) in BREAKDOWNS.items()],
        "lines": breakdown(organisation, range),
        "total": queries.totals(organisation, range),
    }
    return render(request, "portal/reports.html", context)


@pages.page(pages.ADVERTISER)
def export(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """The same lines as the page, with full micros, so that they add up."""
    organisation = membership.organisation
    range = ranges.asked(request, organisation)
    by = _asked(request)
    _label, breakdown = BREAKDOWNS[by]
    columns = files.ADVERTISER_COLUMNS
    rows = [
        [line.label, organisation.currency, *files.totals_cells(line.totals, columns)]
        for line in breakdown(organisation, range)
    ]
    name = f"report-{by}-{range.start_date}-{range.end_date}"
    return files.csv_response(name, [by, "currency", *columns], rows)


def _asked(request: HttpRequest) -> str:
    by = request.GET.get("by", "campaign")
    return by if by in BREAKDOWNS else "campaign"
