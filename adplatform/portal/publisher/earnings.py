"""What the platform owes the publisher and what it is made of, as the books hold it."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from adplatform.accounts.models import Membership
from adplatform.billing import payouts
from adplatform.billing import queries as books
from adplatform.billing.models import LedgerAccount, Payee
from adplatform.core import clock
from adplatform.core.money import MICROS
from adplatform.insights import queries
from adplatform.portal import pages, ranges

SHOWN = 12


@pages.page(pages.PUBLISHER)
def earnings(request: HttpRequest, membership: Membership) -> HttpResponse:
    publisher = membership.organisation
    range = ranges.asked(request, publisher)
    account = LedgerAccount.objects.filter(
        owner=publisher, kind=LedgerAccount.Kind.EARNED, currency=publisher.currency
    ).first()
    lines = (
        books.statement(account, start=range.start_at, end=range.end_at, time_zone=range.zone)
        if account
        else []
    )
    earned = queries.totals(publisher, range).earned_micros
    settled = sum(line.micros for line in lines if line.micros > 0)
    context = {
        "section": "earnings",
        "organisation": publisher,
        "range": range,
        "owed_micros": books.earned_balance(publisher),
        "earned_micros": earned,
        "unsettled_micros": earned - settled,
        "payable_micros": sum(
            item.micros
            for item in payouts.payable(clock.now(), publisher)
            if item.currency == publisher.currency
        ),
        "hold_days": settings.PAYOUT_HOLD_DAYS,
        "minimum_micros": settings.PAYOUT_MINIMUM_UNITS * MICROS,
        "payee": Payee.objects.filter(organisation=publisher).first(),
        "is_owner": membership.role == Membership.Role.OWNER,
        "payouts": publisher.payouts.select_related("batch").order_by("-pk")[:SHOWN],
        "lines": lines[::-1],
    }
    return render(request, "portal/publisher/earnings.html", context)
