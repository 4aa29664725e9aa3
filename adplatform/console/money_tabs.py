"""The pages about money, side by side, with what waits on each."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from adplatform.billing.models import Payment, PayoutBatch, Proposal, Refund


def tabs(current: str) -> dict[str, Any]:
    """Context of `console/_money_tabs.html`."""
    waiting = {
        "approvals": Proposal.objects.filter(state=Proposal.State.WAITING).count(),
        "transfers": Payment.objects.filter(
            status=Payment.Status.PENDING, gateway=Payment.Gateway.BANK
        ).count()
        + Refund.objects.filter(state=Refund.State.WAITING).count(),
        "payouts": PayoutBatch.objects.filter(
            state__in=[PayoutBatch.State.PREPARED, PayoutBatch.State.APPROVED]
        ).count(),
    }
    names = {
        "money": _("Books"),
        "approvals": _("Approvals"),
        "transfers": _("Transfers"),
        "invoices": _("Invoices"),
        "payouts": _("Payouts"),
    }
    found = [
        {
            "url": reverse(f"console:{key}"),
            "label": label,
            "current": key == current,
            "count": waiting.get(key, 0),
        }
        for key, label in names.items()
    ]
    return {"section": "money", "tabs": found}
