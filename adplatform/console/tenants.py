"""Organisations: who they are, their people, what they spend or earn."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from adplatform.accounts.models import AuditEntry, Organisation
from adplatform.accounts.queries import members_of
from adplatform.billing.models import LedgerAccount
from adplatform.campaigns.models import Campaign
from adplatform.console.access import operator_page
from adplatform.console.money import accounts_of
from adplatform.core import clock
from adplatform.insights import queries
from adplatform.insights.status import campaign_statuses

DAYS = 30
KINDS = Organisation.Kind


@operator_page
def tenants(request: HttpRequest) -> HttpResponse:
    search, kind = request.GET.get("q", "").strip(), request.GET.get("kind", "")
    rows = Organisation.objects.annotate(people=Count("memberships")).order_by("kind", "name")
    if kind in KINDS.values:
        rows = rows.filter(kind=kind)
    if search:
        rows = rows.filter(name__icontains=search)
    range = queries.Range.last(DAYS, zone="UTC", at=clock.now())
    spent = queries.by_organisation(range, kind="advertiser")
    earned = queries.by_organisation(range, kind="publisher")
    table = [(row, _amount(row, spent, earned)) for row in rows]
    context = {
        "section": "tenants",
        "rows": table,
        "search": search,
        "kind": kind,
        "kinds": KINDS.choices,
        "days": DAYS,
    }
    return render(request, "console/tenants.html", context)


@operator_page
def tenant(request: HttpRequest, public_id: UUID) -> HttpResponse:
    organisation = get_object_or_404(Organisation, public_id=public_id)
    at = clock.now()
    range = queries.Range.last(DAYS, zone=organisation.time_zone, at=at)
    context = {
        "section": "tenants",
        "organisation": organisation,
        "members": members_of(organisation),
        "total": queries.totals(organisation, range),
        "fill": queries.fill(organisation, range) if organisation.kind == KINDS.PUBLISHER else None,
        "campaigns": _campaigns(organisation, range),
        "sites": organisation.sites.annotate(places=Count("slots")).order_by("name"),
        "accounts": accounts_of(LedgerAccount.objects.filter(owner=organisation)),
        "changes": AuditEntry.objects.filter(organisation=organisation).select_related("user")[:10],
        "range": range,
        "days": DAYS,
    }
    return render(request, "console/tenant.html", context)


def _amount(row: Organisation, spent: dict[int, queries.Totals], earned: dict[int, queries.Totals]) -> int:
    if row.kind == KINDS.ADVERTISER:
        return spent.get(row.pk, queries.Totals()).spend_micros
    return earned.get(row.pk, queries.Totals()).earned_micros


def _campaigns(
    organisation: Organisation, range: queries.Range
) -> list[tuple[Campaign, object, queries.Totals]]:
    campaigns = list(organisation.campaigns.select_related("organisation"))
    numbers = queries.by_campaign(organisation, range) if organisation.kind == KINDS.ADVERTISER else {}
    statuses = campaign_statuses(campaigns, clock.now())
    return [(one, statuses[one.pk], numbers.get(one.pk, queries.Totals())) for one in campaigns]
