"""Invoices and credit notes, whom they are addressed to and the VAT on them."""

from __future__ import annotations

import uuid

from django.db import models

from adplatform.accounts.models import Organisation
from adplatform.billing import papers
from adplatform.billing.models.ledger import Posting
from adplatform.core.encrypted import EncryptedTextField


class BillingProfile(models.Model):
    """Whom an invoice is addressed to."""

    organisation = models.OneToOneField(
        Organisation, on_delete=models.CASCADE, primary_key=True, related_name="billing_profile"
    )
    legal_name = EncryptedTextField(max_length=120)
    address = EncryptedTextField(max_length=400)
    country = models.CharField(max_length=2, help_text="ISO 3166, such as DE")
    vat_id = EncryptedTextField(max_length=20, blank=True)


class TaxRate(models.Model):
    """VAT of a country from a day on; the newest that has begun counts."""

    country = models.CharField(max_length=2)
    valid_from = models.DateField()
    rate_bp = models.PositiveIntegerField(help_text="In basis points: 1900 are 19 %")

    class Meta:
        ordering = ["country", "valid_from"]
        constraints = [
            models.UniqueConstraint(fields=["country", "valid_from"], name="one_rate_per_country_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.country} from {self.valid_from}: {self.rate_bp / 100:g} %"


class Invoice(models.Model):
    """A document that was issued: never changed, corrected by a credit note. Amounts are whole minor units, except
    `exact_micros`, the sum of its lines; the difference is posted to the rounding account."""

    class Kind(models.TextChoices):
        INVOICE = "invoice", "Invoice"
        CREDIT_NOTE = "credit_note", "Credit note"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="invoices")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    series = models.CharField(max_length=12, help_text="Numbers of a series have no gap")
    number = models.PositiveIntegerField()
    month = models.DateField(help_text="First day of the month that it is for")
    currency = models.CharField(max_length=3)
    issued_at = models.DateTimeField()
    seller = models.JSONField(default=dict)
    sealed_buyer = EncryptedTextField()
    buyer_sha256 = models.CharField(max_length=64)
    exact_micros = models.BigIntegerField()
    net_micros = models.BigIntegerField()
    tax_rate_bp = models.PositiveIntegerField(default=0)
    tax_micros = models.BigIntegerField(default=0)
    tax_note = models.CharField(max_length=200, blank=True)
    total_micros = models.BigIntegerField()
    line_count = models.PositiveIntegerField()
    reason = models.CharField(max_length=120, blank=True)
    corrects = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="corrections"
    )
    posting = models.OneToOneField(Posting, on_delete=models.PROTECT, null=True, blank=True)

    class Meta:
        ordering = ["-issued_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["series", "number"], name="one_invoice_per_number"),
            models.CheckConstraint(
                condition=models.Q(total_micros=models.F("net_micros") + models.F("tax_micros")),
                name="invoice_adds_up",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.series}-{self.number:06d}"

    @property
    def buyer(self) -> dict[str, str]:
        """Name, address, country and VAT id as they were on the day of issue."""
        return papers.opened(self.sealed_buyer)


class InvoiceLine(models.Model):
    """What one campaign cost in one month (`service_month`: a late finding corrects an earlier one)."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    campaign_id = models.BigIntegerField(null=True, blank=True)
    service_month = models.DateField()
    words = models.CharField(max_length=200)
    micros = models.BigIntegerField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(micros=0), name="invoice_line_costs_something")
        ]
