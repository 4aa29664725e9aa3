"""Credit notes: part of an invoice given back to the purse, at the platform's cost. The invoice itself stays as it is."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Sum

from adplatform.billing import invoices, ledger
from adplatform.billing.models import Invoice, Posting
from adplatform.billing.tax import Tax
from adplatform.core.money import format_micros


class CreditNoteError(ledger.LedgerError):
    """More than the invoice, in a sentence a person can act on."""


def creditable(invoice: Invoice) -> int:
    """Net micros of the invoice that no credit note gave back yet."""
    given = invoice.corrections.aggregate(micros=Sum("net_micros"))["micros"] or 0
    return max(0, invoice.net_micros + int(given))


@transaction.atomic
def issue(invoice: Invoice, net_micros: int, *, key: str, reason: str, at: datetime) -> Invoice:
    """Give back `net_micros` and its VAT; `key` names the note, so that asking twice gives once."""
    ledger.lock_chain()
    known = Invoice.objects.filter(posting__key=f"credit:{key}").first()
    if known is not None:
        return known
    most = creditable(invoice)
    if not 0 < net_micros <= most:
        raise CreditNoteError(
            f"Of {invoice} at most {format_micros(most, invoice.currency)} net can be credited."
        )
    document = invoices.Document(
        organisation=invoice.organisation,
        kind=Invoice.Kind.CREDIT_NOTE,
        currency=invoice.currency,
        month=invoice.month,
        lines=[(None, invoice.month, f"Credit on {invoice}: {reason}", -net_micros)],
        tax=Tax(invoice.tax_rate_bp, invoice.tax_note),
        reason=reason,
        corrects=invoice,
    )

    def book(number: str) -> Posting:
        entries = {
            ledger.prepaid(invoice.organisation): -document.net_micros - document.tax_micros,
            ledger.revenue(invoice.currency): document.net_micros,
            ledger.tax(invoice.currency): document.tax_micros,
        }
        return ledger.post(
            key=f"credit:{key}",
            kind="credit",
            entries={account: micros for account, micros in entries.items() if micros},
            effective_at=at,
            memo=f"Credit note {number} on {invoice}: {reason}"[:200],
        )

    return invoices.write(document, at=at, posting_of=book)
