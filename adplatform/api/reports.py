"""Numbers of the key's organisation from the one metrics layer, as JSON and as the same rows in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from django.http import HttpRequest, HttpResponseBase
from ninja import Router

from adplatform.accounts.models import Organisation
from adplatform.api.auth import Key, organisation_of
from adplatform.api.problems import ProblemError
from adplatform.api.schemas.reports import DeliveryOut, ReportOut
from adplatform.campaigns.models import Campaign, Creative, LineItem
from adplatform.core import clock
from adplatform.core.tenants import platform
from adplatform.insights import delivery, queries
from adplatform.insights.export import ADVERTISER_COLUMNS, PUBLISHER_COLUMNS, csv_response, totals_cells
from adplatform.insights.queries import Range, Totals
from adplatform.inventory.models import AdSlot, Site

router = Router(tags=["reports"])
READ = Key("read")
By = Literal["day", "campaign", "line_item", "creative", "site", "slot", "category"]
Row = tuple[str, str, Totals]  # key, name, numbers

SHARED = ("impressions", "views", "clicks", "conversions", "ctr", "measurable", "viewability")
ADVERTISERS = (
    "spend_micros",
    "revenue_micros",
    "cvr",
    "cpc_micros",
    "cpm_micros",
    "cpa_micros",
    "roas",
    "roi",
)
PUBLISHERS = ("earned_micros", "ecpm_micros")

GROUPS: dict[str, tuple[Callable[..., dict[int, Totals]], type[Any]]] = {
    "campaign": (queries.by_campaign, Campaign),
    "line_item": (queries.by_line_item, LineItem),
    "creative": (queries.by_creative, Creative),
    "site": (queries.by_site, Site),
    "slot": (queries.by_slot, AdSlot),
}


@router.get("/reports", response=ReportOut, auth=READ, exclude_none=False)
def report(request: HttpRequest, by: By = "day", start: str = "", end: str = "") -> dict[str, Any]:
    """`start` and `end` are days in the organisation's time zone, both included; without them the last 30 days."""
    organisation, range = _asked(request, start, end)
    return {
        "by": by,
        "start_date": range.start_date,
        "end_date": range.end_date,
        "time_zone": range.zone,
        "currency": organisation.currency,
        "total": _numbers(queries.totals(organisation, range), organisation),
        "rows": [
            {"key": key, "name": name, **_numbers(total, organisation)}
            for key, name, total in _rows(organisation, range, by)
        ],
    }


@router.get("/reports.csv", auth=READ, tags=["exports"])
def report_file(request: HttpRequest, by: By = "day", start: str = "", end: str = "") -> HttpResponseBase:
    """The same rows as a CSV file; amounts are decimals with all their micros."""
    organisation, range = _asked(request, start, end)
    columns = ADVERTISER_COLUMNS if organisation.kind == Organisation.Kind.ADVERTISER else PUBLISHER_COLUMNS
    rows = [
        [key, name, organisation.currency, *totals_cells(total, columns)]
        for key, name, total in _rows(organisation, range, by)
    ]
    header = [by, "name", "currency", *columns]
    return csv_response(f"report-{by}-{range.start_date}-{range.end_date}", header, rows)


@router.get("/reports/delivery", response=DeliveryOut, auth=READ, exclude_none=False)
def delivery_report(
    request: HttpRequest,
    by: Literal["campaign", "line_item"] = "line_item",
    start: str = "",
    end: str = "",
) -> dict[str, Any]:
    """What became of the opportunities of an advertiser's line items: how often a slot asked for such an ad, and how
    each ended. `share_bp` are basis points that add up to 10,000."""
    organisation, range = _asked(request, start, end)
    if organisation.kind != Organisation.Kind.ADVERTISER:
        raise ProblemError(403, "wrong_kind", "Delivery is told to advertisers.")
    found = (delivery.by_campaign if by == "campaign" else delivery.by_line_item)(organisation, range)
    names = _names(GROUPS[by][1], found)
    return {
        "by": by,
        "start_date": range.start_date,
        "end_date": range.end_date,
        "time_zone": range.zone,
        "total": _funnel(delivery.funnel(organisation, range)),
        "rows": [
            {"key": key, "name": name, **_funnel(found[pk])}
            for pk, (key, name) in sorted(names.items(), key=lambda pair: pair[1][1])
        ],
    }


def _funnel(found: delivery.Funnel) -> dict[str, Any]:
    told = delivery.advice(found)
    return {
        "opportunities": found.opportunities,
        "won": found.won,
        "outcomes": [
            {"outcome": part.outcome, "opportunities": part.opportunities, "share_bp": part.share_bp}
            for part in found.parts
        ],
        "advice": told.text if told else "",
    }


def _asked(request: HttpRequest, start: str, end: str) -> tuple[Organisation, Range]:
    organisation = organisation_of(request)
    asked = queries.range_from({"from": start, "to": end}, zone=organisation.time_zone, at=clock.now())
    return organisation, asked


def _rows(organisation: Organisation, range: Range, by: str) -> list[Row]:
    if by == "day":
        return [
            (day.isoformat(), day.isoformat(), total)
            for day, total in queries.by_day(organisation, range).items()
        ]
    if by == "category":
        return [(name, name, total) for name, total in queries.by_category(organisation, range).items()]
    if organisation.kind == Organisation.Kind.PUBLISHER and by not in {"site", "slot"}:
        raise ProblemError(
            403, "wrong_kind", "A publisher's numbers are told by day, site, slot and category."
        )
    group, model = GROUPS[by]
    found = group(organisation, range)
    names = _names(model, found)
    return [(*names.get(key, ("", "")), total) for key, total in found.items()]


@platform()  # of sites that an advertiser's ads stood on, and of its own
def _names(model: type[Any], ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """(public id, name) by id."""
    rows = model.objects.filter(pk__in=list(ids)).values_list("pk", "public_id", "name")
    return {pk: (str(public_id), name) for pk, public_id, name in rows}


def _numbers(total: Totals, organisation: Organisation) -> dict[str, Any]:
    """What the organisation may see: an advertiser its spend and return, a publisher its earnings."""
    own = ADVERTISERS if organisation.kind == Organisation.Kind.ADVERTISER else PUBLISHERS
    return {name: getattr(total, name) for name in (*SHARED, *own)}
