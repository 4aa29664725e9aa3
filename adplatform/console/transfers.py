"""Bank transfers that an operator reads from the statement: money that arrived, refunds that were sent."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from adplatform.billing import approvals, payments
from adplatform.billing.gateways.base import GatewayError
from adplatform.billing.ledger import LedgerError
from adplatform.billing.models import Payment, Proposal, Refund
from adplatform.console.access import operator, operator_page
from adplatform.console.money_tabs import tabs
from adplatform.core import clock
from adplatform.core.forms import MoneyField, set_currency
from adplatform.core.money import format_micros

PAGE_SIZE = 30


class ArrivalForm(forms.Form):
    """What the bank statement says of one transfer."""

    micros = MoneyField(label=gettext_lazy("Amount that arrived"))
    reference = forms.CharField(
        label=gettext_lazy("Line of the bank statement"),
        max_length=120,
        help_text=gettext_lazy("Its number or text, so that it can be found again"),
    )
    key = forms.UUIDField(widget=forms.HiddenInput)


@operator_page
def transfers(request: HttpRequest) -> HttpResponse:
    expected = Payment.objects.filter(
        gateway=Payment.Gateway.BANK, status=Payment.Status.PENDING
    ).select_related("organisation")
    search = request.GET.get("q", "").strip()
    if search:
        expected = expected.filter(reference__icontains=search)
    arrived = Payment.objects.exclude(status=Payment.Status.PENDING).select_related("organisation")
    context = {
        "search": search,
        "expected": expected,
        "refunds": Refund.objects.filter(state=Refund.State.WAITING).select_related("payment__organisation"),
        "page_obj": Paginator(arrived, PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return render(request, "console/transfers.html", context | tabs("transfers"))


@operator_page
def arrival(request: HttpRequest, public_id: str) -> HttpResponse:
    """Fill in what arrived, look at it, book it; above a limit another operator books it."""
    payment = get_object_or_404(
        Payment.objects.select_related("organisation"),
        public_id=public_id,
        gateway=Payment.Gateway.BANK,
        status=Payment.Status.PENDING,
    )
    first = {"micros": payment.micros, "key": uuid.uuid4()}
    form = ArrivalForm(request.POST or None, initial=first)
    set_currency(form, payment.currency)
    context = {"form": form, "payment": payment} | tabs("transfers")
    if not form.is_valid():
        return render(request, "console/arrival.html", context, status=422 if form.is_bound else 200)
    values = form.cleaned_data
    needs_second = approvals.needs_second(Proposal.Kind.DEPOSIT, values["micros"])
    if "confirmed" not in request.POST:
        amount = format_micros(values["micros"], payment.currency)
        return render(
            request, "console/arrival.html", context | {"amount": amount, "needs_second": needs_second}
        )
    return _book(request, payment, values)


def _book(request: HttpRequest, payment: Payment, values: dict[str, Any]) -> HttpResponse:
    try:
        proposal = approvals.ask(
            kind=Proposal.Kind.DEPOSIT,
            organisation=payment.organisation,
            micros=values["micros"],
            words=_("Bank transfer %s arrived") % payment.reference,
            detail={"payment": payment.pk, "reference": values["reference"]},
            key=values["key"],
            by=operator(request),
            at=clock.now(),
        )
    except LedgerError as error:
        messages.error(request, str(error))
        return redirect("console:transfers")
    said = (
        _("Another operator has to approve it.") if proposal else _("Booked for %s.") % payment.organisation
    )
    messages.success(request, said)
    return redirect("console:approvals" if proposal else "console:transfers")


@require_POST
@operator_page
def refund(request: HttpRequest, public_id: str) -> HttpResponse:
    """A waiting refund: sent by hand (a transfer), tried again (a card), or given up."""
    asked = get_object_or_404(Refund.objects.select_related("payment__organisation"), public_id=public_id)
    try:
        if "give_up" in request.POST:
            payments.give_up(asked, at=clock.now())
            messages.success(request, _("The money can be spent again."))
        else:
            payments.send(asked, at=clock.now(), external_id=request.POST.get("reference", "").strip()[:120])
            messages.success(request, _("The refund is booked as sent."))
    except (LedgerError, GatewayError) as error:
        messages.error(request, str(error))
    return redirect("console:transfers")
