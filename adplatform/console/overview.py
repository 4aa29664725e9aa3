"""The operator's first page: what the platform earns, what it owes, and what wants attention."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adplatform.accounts.models import Organisation
from adplatform.billing.models import Balance, LedgerAccount
from adplatform.campaigns import review
from adplatform.campaigns.models import Campaign, Status
from adplatform.console.access import operator_page
from adplatform.console.reading import Scope, scope
from adplatform.core import clock
from adplatform.core.models import Outbox
from adplatform.insights import charts, queries
from adplatform.insights.export import csv_response, totals_cells
from adplatform.jobs.models import JobRun

CSV_COLUMNS = ("impressions", "views", "clicks", "conversions", "spend", "earned", "revenue")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that wants the operator: a tone, a title, a sentence, where to act."""

    tone: str
    symbol: str
    title: str
    text: str
    url: str
    label: str


@operator_page
def overview(request: HttpRequest) -> HttpResponse:
    at = clock.now()
    chosen = scope(request, at)
    days = queries.by_day(None, chosen.range, currency=chosen.currency)
    total = queries.totals(None, chosen.range, currency=chosen.currency)
    before = queries.totals_before(None, chosen.range, currency=chosen.currency)
    fill, fill_before = queries.fill(None, chosen.range), queries.fill_before(None, chosen.range)
    context = {
        "section": "overview",
        "scope": chosen,
        "days": days,
        "total": total,
        "fill": fill,
        "revenue_change": queries.change(total.platform_micros, before.platform_micros),
        "spend_change": queries.change(total.spend_micros, before.spend_micros),
        "fill_change": queries.change(fill.rate, fill_before.rate),
        "platform_series": [day.platform_micros for day in days.values()],
        "spend_series": [day.spend_micros for day in days.values()],
        "active": _active_campaigns(at),
        "owed": balance(LedgerAccount.Kind.EARNED, chosen.currency),
        "prepaid": balance(LedgerAccount.Kind.PREPAID, chosen.currency),
        "notices": list(notices(at)),
        "advertisers": _ranked("advertiser", chosen),
        "publishers": _ranked("publisher", chosen),
    }
    return render(request, "console/overview.html", context)


@operator_page
def chart(request: HttpRequest) -> HttpResponse:
    chosen = scope(request, clock.now())
    days = queries.by_day(None, chosen.range, currency=chosen.currency)
    return JsonResponse(charts.platform_figure(days, currency=chosen.currency))


@operator_page
def export(request: HttpRequest) -> HttpResponseBase:
    chosen = scope(request, clock.now())
    days = queries.by_day(None, chosen.range, currency=chosen.currency)
    header = ["day", *CSV_COLUMNS]
    rows = [[day.isoformat(), *totals_cells(total, CSV_COLUMNS)] for day, total in days.items()]
    name = f"platform-{chosen.currency}-{chosen.range.start_date}-{chosen.range.end_date}"
    return csv_response(name, header, rows)


def balance(kind: str, currency: str) -> int:
    """Micros that all accounts of a kind hold together."""
    rows = Balance.objects.filter(account__kind=kind, account__currency=currency)
    return rows.aggregate(micros=Sum("micros"))["micros"] or 0


def notices(at: datetime) -> list[Notice]:
    return [notice for notice in (_failed_jobs(at), _waiting_creatives(at), _stuck_outbox(at)) if notice]


def _failed_jobs(at: datetime) -> Notice | None:
    failed = JobRun.objects.filter(
        status=JobRun.Status.FAILED, started_at__gte=at - timedelta(days=1), is_dry_run=False
    )
    last = failed.select_related("job").order_by("-started_at").first()
    if last is None:
        return None
    title = ngettext(
        "%(n)s job run failed in 24 hours", "%(n)s job runs failed in 24 hours", failed.count()
    ) % {"n": failed.count()}
    text = f"{last.job.title}: {last.summary or last.error.strip().splitlines()[-1] if last.error else last.job.title}"
    return Notice(
        "bad",
        "circle-alert",
        title,
        text[:200],
        reverse("console:job", args=[last.job_id]),
        _("See its runs"),
    )


def _waiting_creatives(at: datetime) -> Notice | None:
    waiting = review.waiting()
    oldest = waiting.first()
    if oldest is None:
        return None
    n = waiting.count()
    title = ngettext("%(n)s creative waits for review", "%(n)s creatives wait for review", n) % {"n": n}
    text = _("The oldest waits for %(time)s: %(name)s.") % {
        "time": timesince(oldest.updated_at, at, depth=1),
        "name": oldest.headline,
    }
    return Notice("warn", "eye", title, text, reverse("console:review"), _("Review"))


def _stuck_outbox(at: datetime) -> Notice | None:
    stuck = Outbox.objects.filter(done_at__isnull=True, created_at__lt=at - timedelta(minutes=2)).count()
    if not stuck:
        return None
    text = _("Changes wait in the outbox for more than two minutes: the publisher process may be down.")
    title = ngettext("%(n)s change is not served yet", "%(n)s changes are not served yet", stuck) % {
        "n": stuck
    }
    return Notice("bad", "triangle-alert", title, text, reverse("console:jobs"), _("Look at the jobs"))


def _active_campaigns(at: datetime) -> int:
    running = Q(end_at__isnull=True) | Q(end_at__gt=at)
    return Campaign.objects.filter(
        running, status=Status.ACTIVE, start_at__lte=at, source__in=["live", "demo"]
    ).count()


def _ranked(kind: str, chosen: Scope) -> list[dict[str, Any]]:
    """The five organisations of a kind that spent or earned most."""
    measure = "spend_micros" if kind == "advertiser" else "earned_micros"
    found = queries.by_organisation(chosen.range, kind=kind, currency=chosen.currency)
    best = sorted(found.items(), key=lambda pair: -getattr(pair[1], measure))[:5]
    names = Organisation.objects.in_bulk([organisation_id for organisation_id, _total in best])
    return [
        {"organisation": names[organisation_id], "total": total, "micros": getattr(total, measure)}
        for organisation_id, total in best
        if organisation_id in names and getattr(total, measure)
    ]
