"""The books. Only `billing.ledger` writes them; the database refuses everything else.

An entry's sign: positive raises what its owner is owed (an advertiser's prepaid money, a publisher's earnings, the
platform's revenue); the cash account mirrors it with a negative balance. Every posting sums to zero per currency.
"""

from __future__ import annotations

from django.db import models

from adplatform.accounts.models import Organisation


class LedgerAccount(models.Model):
    class Kind(models.TextChoices):
        CASH = "cash", "Cash at the bank"
        PREPAID = "prepaid", "Advertiser's prepaid money"
        EARNED = "earned", "Publisher's earnings"
        REVENUE = "revenue", "Platform's revenue"
        HELD = "held", "Advertiser's money on hold"
        DUE = "due", "Advertiser's unpaid invoices"
        TAX = "tax", "VAT to be paid on"
        ROUNDING = "rounding", "Rounding of invoices"
        TRANSIT = "transit", "Payouts on their way"

    owner = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, null=True, blank=True, related_name="ledger_accounts"
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    currency = models.CharField(max_length=3)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "kind", "currency"],
                name="one_account_per_owner_and_kind",
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"{self.owner or 'Platform'} · {self.get_kind_display()} · {self.currency}"


class Posting(models.Model):
    """One business event in the books. `key` names it, so that posting it again changes nothing."""

    key = models.CharField(max_length=160, unique=True)
    kind = models.CharField(max_length=20)
    request_sha256 = models.CharField(max_length=64)
    memo = models.CharField(max_length=200, blank=True)
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="reversed_by"
    )
    posted_at = models.DateTimeField(help_text="When it was written")
    effective_at = models.DateTimeField(help_text="The business moment it belongs to")
    previous_sha256 = models.CharField(max_length=64)
    row_sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.key


class Entry(models.Model):
    posting = models.ForeignKey(Posting, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="entries")
    currency = models.CharField(max_length=3)
    micros = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "entries"
        constraints = [models.CheckConstraint(condition=~models.Q(micros=0), name="entry_moves_something")]

    def __str__(self) -> str:
        return f"{self.account}: {self.micros}"


class Balance(models.Model):
    """The sum of an account's entries. Only the database itself writes it, in the statement that adds the entries.

    `settled_micros` is the part of the sum that settlements moved: what an advertiser ever paid for ads (negative),
    what a publisher ever earned.
    """

    account = models.OneToOneField(
        LedgerAccount, on_delete=models.PROTECT, primary_key=True, related_name="balance"
    )
    micros = models.BigIntegerField(default=0)
    settled_micros = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.account}: {self.micros}"


class Settlement(models.Model):
    """How much of one campaign's spend in one slot and hour the books already hold; the `settle` job raises it to the
    sum of billable events, so that a late event is settled by the next run and none twice."""

    hour = models.DateTimeField()
    campaign_id = models.BigIntegerField()
    slot_id = models.BigIntegerField()
    settled_micros = models.BigIntegerField(default=0)
    earned_micros = models.BigIntegerField(
        default=0, help_text="The publisher's part of it, as it was posted"
    )
    postings = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "campaign_id", "slot_id"], name="one_settlement_per_hour"
            ),
            models.CheckConstraint(condition=models.Q(settled_micros__gte=0), name="settled_is_not_negative"),
        ]
