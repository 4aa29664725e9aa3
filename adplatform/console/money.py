"""The books as the operator reads them: who holds what, what was posted, and deposits that came by bank transfer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Organisation
from adplatform.billing import approvals, verification
from adplatform.billing.ledger import LedgerError
from adplatform.billing.models import Balance, LedgerAccount, Posting, Proposal
from adplatform.billing.queries import prepaid_balance
from adplatform.console.access import operator, operator_page
from adplatform.console.money_tabs import tabs
from adplatform.core import clock
from adplatform.core.forms import MoneyField
from adplatform.core.money import format_micros

PAGE_SIZE = 30
# Accounts count what we owe: what lies at the bank, and what advertisers owe us, stand there as negative balances.
FLIPPED = {LedgerAccount.Kind.CASH, LedgerAccount.Kind.DUE}
_SET_ASIDE = {LedgerAccount.Kind.HELD, LedgerAccount.Kind.DUE}


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One account with its balance as a person expects the sign."""

    account: LedgerAccount
    micros: int


class DepositForm(forms.Form):
    """Money that an advertiser sent by bank transfer. `key` names this deposit, so that sending twice books once."""

    organisation = forms.ModelChoiceField(
        label=gettext_lazy("Advertiser"),
        queryset=Organisation.objects.filter(kind=Organisation.Kind.ADVERTISER, is_active=True),
        empty_label=gettext_lazy("Choose an advertiser"),
    )
    micros = MoneyField(
        label=gettext_lazy("Amount"), help_text=gettext_lazy("In the advertiser's currency, such as 1,000.00")
    )
    reference = forms.CharField(
        label=gettext_lazy("Reference of the transfer"),
        max_length=120,
        help_text=gettext_lazy("As the bank statement shows it"),
    )
    key = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        chosen = (
            Organisation.objects.filter(pk=self.data.get("organisation") or 0).first()
            if self.is_bound
            else None
        )
        if chosen is not None:
            money_field = self.fields["micros"]
            assert isinstance(money_field, MoneyField)
            money_field.currency = chosen.currency


@operator_page
def money(request: HttpRequest) -> HttpResponse:
    lines = accounts_of(LedgerAccount.objects.all())
    context = {
        "totals": _totals(lines),
        "platform": [line for line in lines if line.account.owner is None],
        "set_aside": [line for line in lines if line.account.kind in _SET_ASIDE],
        "prepaid": [line for line in lines if line.account.kind == LedgerAccount.Kind.PREPAID],
        "earned": [line for line in lines if line.account.kind == LedgerAccount.Kind.EARNED],
        "page_obj": Paginator(_postings(), PAGE_SIZE).get_page(request.GET.get("page")),
        "form": DepositForm(initial={"key": uuid.uuid4()}),
    }
    return render(request, "console/money.html", context | tabs("money"))


@require_POST
@operator_page
def deposit(request: HttpRequest) -> HttpResponse:
    """First shows what would be booked; books it when the operator confirms."""
    form = DepositForm(request.POST)
    if not form.is_valid():
        return render(request, "console/deposit.html", {"section": "money", "form": form}, status=422)
    values = form.cleaned_data
    advertiser: Organisation = values["organisation"]
    amount = format_micros(values["micros"], advertiser.currency)
    if "confirmed" not in request.POST:
        before = prepaid_balance(advertiser)
        context = {
            "section": "money",
            "form": form,
            "advertiser": advertiser,
            "amount": amount,
            "reference": values["reference"],
            "needs_second": approvals.needs_second(Proposal.Kind.DEPOSIT, values["micros"]),
        }
        return render(
            request, "console/deposit.html", context | {"before": before, "after": before + values["micros"]}
        )
    return _book(request, advertiser, values, amount)


def _book(
    request: HttpRequest, advertiser: Organisation, values: dict[str, Any], amount: str
) -> HttpResponse:
    """Small sums at once, large ones when another operator approves."""
    try:
        proposal = approvals.ask(
            kind=Proposal.Kind.DEPOSIT,
            organisation=advertiser,
            micros=values["micros"],
            words=_("Bank transfer: %s") % values["reference"],
            detail={"reference": values["reference"]},
            key=values["key"],
            by=operator(request),
            at=clock.now(),
        )
    except LedgerError as error:
        messages.error(request, str(error))
        return redirect("console:money")
    if proposal is not None:
        messages.success(request, _("Another operator has to approve it."))
        return redirect("console:approvals")
    messages.success(
        request, _("%(amount)s were booked for %(name)s.") % {"amount": amount, "name": advertiser}
    )
    return redirect("console:money")


@require_POST
@operator_page
def verify(request: HttpRequest) -> HttpResponse:
    """Look at every posting, the hash chain and every balance, as `manage.py ledger_verify` does."""
    return render(request, "console/verified.html", {"section": "money", "found": verification.verify()})


def accounts_of(accounts: QuerySet[LedgerAccount]) -> list[AccountLine]:
    """Accounts with their balances, by kind and owner."""
    held = dict(Balance.objects.filter(account__in=accounts).values_list("account_id", "micros"))
    lines = []
    for account in accounts.select_related("owner").order_by("kind", "owner__name", "currency"):
        micros = held.get(account.pk, 0)
        lines.append(AccountLine(account, -micros if account.kind in FLIPPED else micros))
    return lines


def _totals(lines: list[AccountLine]) -> list[dict[str, Any]]:
    """What each currency holds by kind of account."""
    found: dict[str, dict[str, int]] = {}
    for line in lines:
        kinds = found.setdefault(line.account.currency, dict.fromkeys(LedgerAccount.Kind.values, 0))
        kinds[line.account.kind] += line.micros
    return [{"currency": currency, **kinds} for currency, kinds in sorted(found.items())]


def _postings() -> QuerySet[Posting]:
    return Posting.objects.prefetch_related("entries__account__owner").order_by("-id")
