"""What publishers are paid, where it goes and who approved it."""

from __future__ import annotations

import uuid

from django.db import models

from adplatform.accounts.models import Organisation, User
from adplatform.billing import papers
from adplatform.billing.models.ledger import Posting
from adplatform.core.encrypted import EncryptedTextField


class Payee(models.Model):
    """Where a publisher's money goes."""

    organisation = models.OneToOneField(
        Organisation, on_delete=models.CASCADE, primary_key=True, related_name="payee"
    )
    holder = EncryptedTextField(max_length=70)
    iban = EncryptedTextField(max_length=34)
    bic = EncryptedTextField(max_length=11, blank=True)


class PayoutBatch(models.Model):
    """Payouts of one currency that go to the bank together, after two people have looked at them."""

    class State(models.TextChoices):
        PREPARED = "prepared", "Waits for approval"
        APPROVED = "approved", "Approved"
        PAID = "paid", "Paid"
        REFUSED = "refused", "Refused"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    currency = models.CharField(max_length=3)
    micros = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PREPARED)
    prepared_at = models.DateTimeField()
    earned_before = models.DateTimeField(help_text="Earnings of later hours are still on hold")
    first_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    second_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    approved_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-prepared_at", "-pk"]
        verbose_name_plural = "payout batches"
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(state__in=["approved", "paid"])
                | models.Q(first_by__isnull=False, second_by__isnull=False)
                & ~models.Q(first_by=models.F("second_by")),
                name="two_people_approve_a_payout",
            )
        ]

    def __str__(self) -> str:
        return f"{self.currency} of {self.prepared_at:%Y-%m-%d}"


class Payout(models.Model):
    """What one publisher gets in a batch; bank details are those of that day."""

    batch = models.ForeignKey(PayoutBatch, on_delete=models.PROTECT, related_name="payouts")
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="payouts")
    micros = models.BigIntegerField()
    reference = models.CharField(max_length=35, unique=True, help_text="End-to-end id at the bank")
    sealed_account = EncryptedTextField()
    account_sha256 = models.CharField(max_length=64)
    posting = models.OneToOneField(Posting, on_delete=models.PROTECT)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "organisation"], name="one_payout_per_publisher"),
            models.CheckConstraint(condition=models.Q(micros__gt=0), name="payout_is_more_than_nothing"),
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def account(self) -> dict[str, str]:
        """Holder, IBAN and BIC as they were on the day of the batch."""
        return papers.opened(self.sealed_account)
