"""Double-entry books in integer micros, and the papers and payments that lead to postings: Django looks for them here."""

from __future__ import annotations

from adplatform.billing.models.invoices import BillingProfile, Invoice, InvoiceLine, TaxRate
from adplatform.billing.models.ledger import Balance, Entry, LedgerAccount, Posting, Settlement
from adplatform.billing.models.payments import (
    CreditLimit,
    GatewayEvent,
    Hold,
    LowBalance,
    Payment,
    Proposal,
    Refund,
)
from adplatform.billing.models.payouts import Payee, Payout, PayoutBatch

__all__ = [
    "Balance",
    "BillingProfile",
    "CreditLimit",
    "Entry",
    "GatewayEvent",
    "Hold",
    "Invoice",
    "InvoiceLine",
    "LedgerAccount",
    "LowBalance",
    "Payee",
    "Payment",
    "Payout",
    "PayoutBatch",
    "Posting",
    "Proposal",
    "Refund",
    "Settlement",
    "TaxRate",
]
