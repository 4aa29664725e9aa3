"""The advertiser's prepaid money, what is left of it, and what moved it in a range of days."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from adplatform.accounts.models import Membership
from adplatform.billing import queries
from adplatform.billing.models import LedgerAccount
from adplatform.core.money import format_micros
from adplatform.portal import pages, ranges

SHOWN = 10


@pages.page(pages.ADVERTISER)
def billing(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation = membership.organisation
    range = ranges.asked(request, organisation)
    account = LedgerAccount.objects.filter(
        owner=organisation, kind=LedgerAccount.Kind.PREPAID, currency=organisation.currency
    ).first()
    lines = (
        queries.statement(account, start=range.start_at, end=range.end_at, time_zone=range.zone)
        if account
        else []
    )
    available = queries.available(organisation)
    context = {
        "section": "billing",
        "organisation": organisation,
        "range": range,
        "available_micros": available,
        "available_text": format_micros(available, organisation.currency),
        "balance_text": format_micros(queries.prepaid_balance(organisation), organisation.currency),
        "unsettled_text": format_micros(queries.unsettled_spend(organisation), organisation.currency),
        "may_edit": membership.may_edit,
        "limit_micros": queries.credit_limits([organisation.pk])[organisation.pk],
        "held_micros": queries.held_balance(organisation),
        "due_micros": -queries.due_balance(organisation),
        "payments": organisation.payments.all()[:SHOWN],
        "lines": lines[::-1],
    }
    return render(request, "portal/billing.html", context)
