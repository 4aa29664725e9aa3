"""Double-entry books in integer micros. Only `billing.ledger` writes them; the database refuses everything else.

An entry's sign: positive raises what its owner is owed (an advertiser's prepaid money, a publisher's earnings, the
platform's revenue); the cash account mirrors it with a negative balance. Every posting sums to zero per currency.
"""

from __future__ import annotations

import uuid

from django.db import models

from adplatform.accounts.models import Organisation, User
from adplatform.core.encrypted import EncryptedTextField
from adplatform.core.models import TimeStamped


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


class Payment(TimeStamped):
    """Money that an advertiser asked to send; it is in the books once its gateway says that it arrived."""

    class Gateway(models.TextChoices):
        BANK = "bank", "Bank transfer"
        STRIPE = "stripe", "Card (Stripe)"

    class Status(models.TextChoices):
        PENDING = "pending", "On its way"
        ARRIVED = "arrived", "Arrived"
        FAILED = "failed", "Did not arrive"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="payments")
    gateway = models.CharField(max_length=10, choices=Gateway.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    reference = models.CharField(
        max_length=40, unique=True, help_text="What a transfer says; how a gateway calls it"
    )
    external_id = models.CharField(max_length=120, blank=True, help_text="The gateway's own id of the money")
    micros = models.BigIntegerField(help_text="Asked for; what arrived, once it has")
    currency = models.CharField(max_length=3)
    arrived_at = models.DateTimeField(null=True, blank=True)
    posting = models.OneToOneField(Posting, on_delete=models.PROTECT, null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(micros__gt=0), name="payment_is_more_than_nothing"),
            models.UniqueConstraint(
                fields=["gateway", "external_id"],
                condition=~models.Q(external_id=""),
                name="one_payment_per_gateways_id",
            ),
        ]

    def __str__(self) -> str:
        return self.reference


class GatewayEvent(models.Model):
    """A message of a gateway that was acted on: it is delivered again and again, and acted on once."""

    gateway = models.CharField(max_length=10, choices=Payment.Gateway.choices)
    event_id = models.CharField(max_length=120)
    kind = models.CharField(max_length=60)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["gateway", "event_id"], name="one_row_per_gateways_event")
        ]


class Hold(models.Model):
    """Prepaid money that is set aside: it can neither be spent nor paid back until it is released or taken."""

    class State(models.TextChoices):
        OPEN = "open", "On hold"
        RELEASED = "released", "Released"
        TAKEN = "taken", "Paid back"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="holds")
    micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=120)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    placed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    placed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    posting = models.OneToOneField(Posting, on_delete=models.PROTECT)

    class Meta:
        ordering = ["-placed_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(micros__gt=0), name="hold_is_more_than_nothing")
        ]

    def __str__(self) -> str:
        return f"{self.organisation}: {self.reason}"


class Refund(models.Model):
    """Money going back to where a payment came from; all of a payment's refunds never exceed it."""

    class State(models.TextChoices):
        WAITING = "waiting", "To be sent"
        SENT = "sent", "Sent back"
        FAILED = "failed", "Could not be sent"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    micros = models.BigIntegerField()
    reason = models.CharField(max_length=120)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    hold = models.OneToOneField(Hold, on_delete=models.PROTECT)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    requested_at = models.DateTimeField()
    external_id = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["-requested_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(micros__gt=0), name="refund_is_more_than_nothing")
        ]


class Proposal(models.Model):
    """Something about money that one operator asks for and another allows (four eyes)."""

    class Kind(models.TextChoices):
        DEPOSIT = "deposit", "Deposit"
        REFUND = "refund", "Refund"
        CREDIT_LIMIT = "credit_limit", "Credit limit"
        CREDIT_NOTE = "credit_note", "Credit note"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        APPROVED = "approved", "Approved"
        REFUSED = "refused", "Refused"

    key = models.UUIDField(
        default=uuid.uuid4, unique=True, help_text="Of the form that asked: sent twice, asked once"
    )
    kind = models.CharField(max_length=20, choices=Kind.choices)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="proposals")
    micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    words = models.CharField(max_length=200)
    detail = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    proposed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-proposed_at"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(state="approved")
                | models.Q(decided_by__isnull=False) & ~models.Q(decided_by=models.F("proposed_by")),
                name="another_person_approves",
            )
        ]

    def __str__(self) -> str:
        return self.words


class CreditLimit(models.Model):
    """How far below zero an advertiser's prepaid money may go; the newest row counts, and none is ever changed."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="credit_limits")
    micros = models.BigIntegerField()
    proposed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    approved_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(micros__gte=0), name="credit_limit_is_not_negative"),
            models.CheckConstraint(
                condition=~models.Q(proposed_by=models.F("approved_by")),
                name="credit_limit_is_seen_by_four_eyes",
            ),
        ]


class LowBalance(models.Model):
    """An advertiser whose money lasts for little longer; the row goes when there is enough again."""

    organisation = models.OneToOneField(
        Organisation, on_delete=models.CASCADE, primary_key=True, related_name="low_balance"
    )
    since = models.DateTimeField()
    available_micros = models.BigIntegerField()
    daily_micros = models.BigIntegerField(help_text="What a day cost lately")


class BillingProfile(models.Model):
    """Whom an invoice is addressed to."""

    organisation = models.OneToOneField(
        Organisation, on_delete=models.CASCADE, primary_key=True, related_name="billing_profile"
    )
    legal_name = models.CharField(max_length=120)
    address = EncryptedTextField(max_length=400)
    country = models.CharField(max_length=2, help_text="ISO 3166, such as DE")
    vat_id = models.CharField(max_length=20, blank=True)


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
    buyer = models.JSONField(default=dict)
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
    holder = models.CharField(max_length=70)
    iban = models.CharField(max_length=34)
    bic = models.CharField(max_length=11, blank=True)
    posting = models.OneToOneField(Posting, on_delete=models.PROTECT)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "organisation"], name="one_payout_per_publisher"),
            models.CheckConstraint(condition=models.Q(micros__gt=0), name="payout_is_more_than_nothing"),
        ]

    def __str__(self) -> str:
        return self.reference
