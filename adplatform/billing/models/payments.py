"""An advertiser's money on its way in and back, what is set aside of it, and how far below zero it may go."""

from __future__ import annotations

import uuid

from django.db import models

from adplatform.accounts.models import Organisation, User
from adplatform.billing.models.ledger import Posting
from adplatform.core.models import TimeStamped


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
    mailed_at = models.DateTimeField(null=True, blank=True)
