"""One advertiser's money: credit, holds, refunds, credit notes. Everything is shown before it is done, and above a
limit another operator does it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.services import audit
from adplatform.billing import approvals, credit, credit_notes, invoices, payments, queries
from adplatform.billing.gateways.base import GatewayError
from adplatform.billing.ledger import LedgerError
from adplatform.billing.models import Hold, Invoice, Payment, Proposal
from adplatform.console.access import operator, operator_page
from adplatform.console.money_tabs import tabs
from adplatform.core import clock
from adplatform.core.forms import MoneyField, set_currency
from adplatform.core.money import format_micros

SHOWN = 20


class KeyedForm(forms.Form):
    """Sent twice, done once."""

    key = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, organisation: Organisation, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.organisation = organisation
        set_currency(self, organisation.currency)


class LimitForm(KeyedForm):
    micros = MoneyField(
        label=gettext_lazy("New credit limit"),
        required=False,
        help_text=gettext_lazy(
            "How far below zero prepaid money may go; empty for none. A second operator approves it."
        ),
    )


class HoldForm(KeyedForm):
    micros = MoneyField(label=gettext_lazy("Amount to set aside"))
    reason = forms.CharField(label=gettext_lazy("Why"), max_length=120)


class RefundForm(KeyedForm):
    payment = forms.ModelChoiceField(label=gettext_lazy("Payment"), queryset=Payment.objects.none())
    micros = MoneyField(label=gettext_lazy("Amount"))
    reason = forms.CharField(label=gettext_lazy("Why"), max_length=100)

    def __init__(self, organisation: Organisation, *args: Any, **options: Any) -> None:
        super().__init__(organisation, *args, **options)
        arrived = Payment.objects.filter(organisation=organisation, status=Payment.Status.ARRIVED)
        cast("forms.ModelChoiceField[Payment]", self.fields["payment"]).queryset = arrived


class CreditNoteForm(KeyedForm):
    invoice = forms.ModelChoiceField(label=gettext_lazy("Invoice"), queryset=Invoice.objects.none())
    micros = MoneyField(label=gettext_lazy("Net amount"), help_text=gettext_lazy("Its VAT is given back too"))
    reason = forms.CharField(label=gettext_lazy("Why"), max_length=100)

    def __init__(self, organisation: Organisation, *args: Any, **options: Any) -> None:
        super().__init__(organisation, *args, **options)
        issued = Invoice.objects.filter(organisation=organisation, kind=Invoice.Kind.INVOICE)
        cast("forms.ModelChoiceField[Invoice]", self.fields["invoice"]).queryset = issued


FORMS: dict[str, type[KeyedForm]] = {
    "credit_limit": LimitForm,
    "hold": HoldForm,
    "refund": RefundForm,
    "credit_note": CreditNoteForm,
}


@operator_page
def payer(request: HttpRequest, public_id: str) -> HttpResponse:
    organisation = _advertiser(public_id)
    return render(request, "console/payer.html", _page(organisation))


@operator_page
def act(request: HttpRequest, public_id: str, action: str) -> HttpResponse:
    """First what would happen, then, confirmed, it happens or waits for a second person."""
    organisation = _advertiser(public_id)
    if action not in FORMS or request.method != "POST":
        raise Http404
    form = FORMS[action](organisation, request.POST)
    if not form.is_valid():
        return render(request, "console/payer.html", _page(organisation, form, action), status=422)
    micros = form.cleaned_data["micros"] or 0
    words = _WORDS[action](form.cleaned_data, format_micros(micros, organisation.currency))
    if "confirmed" not in request.POST:
        context = {
            "organisation": organisation,
            "form": form,
            "words": words,
            "available": queries.available(organisation),
            "needs_second": action != "hold" and approvals.needs_second(action, micros),
        }
        return render(request, "console/payer_confirm.html", context | tabs("money"))
    try:
        proposal = _do(action, form, micros, words, operator(request))
    except (LedgerError, GatewayError) as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, _("Another operator has to approve it.") if proposal else _("Done: %s") % words
        )
    return redirect("console:payer", organisation.public_id)


@operator_page
def release(request: HttpRequest, public_id: str, hold: str) -> HttpResponse:
    organisation = _advertiser(public_id)
    held = get_object_or_404(Hold, organisation=organisation, public_id=hold, refund=None)
    if request.method != "POST":
        raise Http404
    try:
        with transaction.atomic():
            credit.release(held, at=clock.now())
            _audit_hold("money.released", held, operator(request))
    except LedgerError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The money can be spent again."))
    return redirect("console:payer", organisation.public_id)


def _do(action: str, form: KeyedForm, micros: int, words: str, by: User) -> Proposal | None:
    organisation, values = form.organisation, form.cleaned_data
    if action == "hold":
        with transaction.atomic():
            held = credit.hold(
                organisation, micros, key=str(values["key"]), reason=values["reason"], by=by, at=clock.now()
            )
            _audit_hold("money.held", held, by)
        return None
    detail = {"reason": values.get("reason", "")}
    detail |= {name: values[name].pk for name in ("payment", "invoice") if name in values}
    return approvals.ask(
        kind=action,
        organisation=organisation,
        micros=micros,
        words=words[:200],
        detail=detail,
        key=values["key"],
        by=by,
        at=clock.now(),
    )


def _audit_hold(action: str, held: Hold, by: User) -> None:
    amount = format_micros(held.micros, held.currency)
    detail = {"amount": amount, "reason": held.reason}
    audit(
        user=by, organisation=held.organisation, action=action, target=held.organisation.name, detail=detail
    )


_WORDS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "credit_limit": lambda _values, amount: _("Credit limit of %s") % amount,
    "hold": lambda values, amount: (
        _("%(amount)s on hold: %(why)s") % {"amount": amount, "why": values["reason"]}
    ),
    "refund": lambda values, amount: (
        _("%(amount)s of %(payment)s back to its source: %(why)s")
        % {"amount": amount, "payment": values["payment"], "why": values["reason"]}
    ),
    "credit_note": lambda values, amount: (
        _("%(amount)s net credited on %(invoice)s: %(why)s")
        % {"amount": amount, "invoice": values["invoice"], "why": values["reason"]}
    ),
}


def _page(organisation: Organisation, bound: KeyedForm | None = None, action: str = "") -> dict[str, Any]:
    forms_ = {
        name: form(organisation, initial={"key": uuid.uuid4()}, prefix=None) for name, form in FORMS.items()
    }
    if bound is not None:
        forms_[action] = bound
    for name, form in forms_.items():
        form.auto_id = f"id_{name}_%s"
    paid = Payment.objects.filter(organisation=organisation, status=Payment.Status.ARRIVED)[:SHOWN]
    documents = invoices.of(organisation)[:SHOWN]
    context = {
        "organisation": organisation,
        "forms": forms_,
        "limit": queries.credit_limits([organisation.pk])[organisation.pk],
        "available": queries.available(organisation),
        "prepaid": queries.prepaid_balance(organisation),
        "held": queries.held_balance(organisation),
        "due": -queries.due_balance(organisation),
        "holds": organisation.holds.filter(state=Hold.State.OPEN),
        "payments": [(payment, payments.refundable(payment)) for payment in paid],
        "invoices": [
            (invoice, credit_notes.creditable(invoice) if invoice.kind == Invoice.Kind.INVOICE else None)
            for invoice in documents
        ],
    }
    return context | tabs("money")


def _advertiser(public_id: str) -> Organisation:
    return get_object_or_404(Organisation, public_id=public_id, kind=Organisation.Kind.ADVERTISER)
