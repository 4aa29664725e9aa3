"""Payouts to publishers: what could be paid, batches, two approvals, files for the bank."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Organisation
from adplatform.billing import bank_files
from adplatform.billing import payouts as steps
from adplatform.billing.ledger import LedgerError
from adplatform.billing.models import PayoutBatch
from adplatform.console.access import operator, operator_page
from adplatform.console.money_tabs import tabs
from adplatform.core import clock
from adplatform.core.money import format_micros

PAGE_SIZE = 20


@operator_page
def payouts(request: HttpRequest) -> HttpResponse:
    items = [item for item in steps.payable(clock.now()) if item.micros]
    owners = Organisation.objects.in_bulk([item.organisation_id for item in items])
    batches = PayoutBatch.objects.select_related("first_by", "second_by").prefetch_related("payouts")
    ready: dict[str, int] = {}
    for item in items:
        if steps.is_enough(item):
            ready[item.currency] = ready.get(item.currency, 0) + item.micros
    context = {
        "items": [(item, owners[item.organisation_id], steps.is_enough(item)) for item in items],
        "ready": " + ".join(format_micros(micros, code) for code, micros in sorted(ready.items())),
        "page_obj": Paginator(batches, PAGE_SIZE).get_page(request.GET.get("page")),
        "hold_days": settings.PAYOUT_HOLD_DAYS,
        "minimum": settings.PAYOUT_MINIMUM_UNITS,
    }
    return render(request, "console/payouts.html", context | tabs("payouts"))


@operator_page
def batch(request: HttpRequest, public_id: str) -> HttpResponse:
    found = _batch(public_id)
    context = {
        "me": operator(request),
        "batch": found,
        "payouts": found.payouts.select_related("organisation"),
        "is_open": found.state in {PayoutBatch.State.PREPARED, PayoutBatch.State.APPROVED},
        "is_sent": found.state in {PayoutBatch.State.APPROVED, PayoutBatch.State.PAID},
    }
    return render(request, "console/payout_batch.html", context | tabs("payouts"))


@require_POST
@operator_page
def prepare(request: HttpRequest) -> HttpResponse:
    batches = steps.prepare(at=clock.now(), by=operator(request))
    said = _("Prepared; a second operator has to approve it.") if batches else _("Nothing is to be paid out.")
    messages.success(request, said)
    return redirect("console:payouts")


@require_POST
@operator_page
def step(request: HttpRequest, public_id: str, action: str) -> HttpResponse:
    acts = {"approve": steps.approve, "refuse": steps.refuse, "paid": steps.mark_paid}
    found = _batch(public_id)
    if action not in acts:
        raise Http404
    try:
        acts[action](found, by=operator(request), at=clock.now())
    except LedgerError as error:
        messages.error(request, str(error))
    return redirect("console:payout_batch", found.public_id)


@operator_page
def export(request: HttpRequest, public_id: str, form: str) -> HttpResponse:
    """The file for the bank; only of a batch that two people approved."""
    found = _batch(public_id)
    if found.state not in {PayoutBatch.State.APPROVED, PayoutBatch.State.PAID}:
        raise Http404
    name = f"payouts-{found.pk}-{found.currency}"
    if form == "csv":
        answer = HttpResponse(bank_files.table(found), content_type="text/csv")
    else:
        try:
            content = bank_files.sepa(
                found, seller=settings.SELLER, at=found.approved_at or found.prepared_at
            )
        except bank_files.BankFileError as error:
            messages.error(request, str(error))
            return redirect("console:payout_batch", found.public_id)
        answer = HttpResponse(content, content_type="application/xml")
    answer["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


def _batch(public_id: str) -> PayoutBatch:
    return get_object_or_404(PayoutBatch, public_id=public_id)
