"""Adding money: how much and how, a look, then the bank's details or Stripe's page; and Stripe's messages back."""

from __future__ import annotations

import logging
import uuid

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Membership
from adplatform.accounts.services import audit
from adplatform.billing import payments
from adplatform.billing.forms import DepositForm
from adplatform.billing.gateways.base import GatewayError
from adplatform.billing.ledger import LedgerError
from adplatform.billing.models import Payment
from adplatform.core import clock
from adplatform.core.money import format_micros
from adplatform.portal import pages
from adplatform.portal.messages import error

log = logging.getLogger(__name__)
LARGEST_MESSAGE = 512 * 1024


@pages.page(pages.ADVERTISER, edit=True)
def deposit(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation = membership.organisation
    first = {"key": uuid.uuid4(), "gateway": payments.offered()[0]}
    form = DepositForm(organisation, request.POST or None, initial=first)
    context = {"section": "billing", "organisation": organisation, "form": form}
    if not form.is_valid():
        return render(request, "portal/deposit.html", context, status=422 if form.is_bound else 200)
    values = form.cleaned_data
    amount = format_micros(values["micros"], organisation.currency)
    if "confirmed" not in request.POST:
        return render(
            request,
            "portal/deposit.html",
            context | {"amount": amount, "is_card": values["gateway"] == "stripe"},
        )
    try:
        payment = payments.ask(organisation, values["micros"], gateway=values["gateway"], key=values["key"])
        page = settings.BASE_URL + reverse("portal:payment", args=[payment.public_id])
        started = payments.GATEWAYS[payment.gateway].start(payment, return_url=page)
    except (LedgerError, GatewayError) as refusal:
        error(request, str(refusal))
        return redirect("portal:deposit")
    _note(request, membership, payment, amount)
    return redirect(started.redirect_url or page.removeprefix(settings.BASE_URL))


@pages.page(pages.ADVERTISER)
def payment(request: HttpRequest, membership: Membership, public_id: str) -> HttpResponse:
    """What to do for a transfer, and what became of a payment."""
    found = get_object_or_404(Payment, organisation=membership.organisation, public_id=public_id)
    context = {"section": "billing", "payment": found, "seller": settings.SELLER}
    return render(request, "portal/payment.html", context)


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Answers 200 to what is signed, whatever came of it; 400 to the rest, so that Stripe tries again."""
    if (
        int(request.headers.get("Content-Length") or 0) > LARGEST_MESSAGE
        or not settings.STRIPE_WEBHOOK_SECRET
    ):
        return HttpResponse(status=400)
    try:
        done = payments.hear(request.body, request.headers.get("Stripe-Signature", ""), at=clock.now())
    except (GatewayError, LedgerError) as refusal:
        log.warning("stripe webhook refused: %s", refusal)
        return HttpResponse(status=400)
    return HttpResponse(done, content_type="text/plain")


def _note(request: HttpRequest, membership: Membership, payment: Payment, amount: str) -> None:
    detail = {"amount": amount, "how": payment.get_gateway_display()}
    audit(
        user=pages.person(request),
        organisation=membership.organisation,
        action="money.announced",
        target=_("payment %s") % payment.reference,
        detail=detail,
    )
