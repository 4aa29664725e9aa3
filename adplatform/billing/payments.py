"""Deposits through a gateway, and refunds to where they came from. Every step may be repeated without effect."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from adplatform.accounts.models import Organisation, User
from adplatform.billing import credit, ledger, services
from adplatform.billing.gateways import card
from adplatform.billing.gateways.bank import BankTransfer
from adplatform.billing.gateways.base import Gateway, GatewayError
from adplatform.billing.gateways.card import Card
from adplatform.billing.models import GatewayEvent, Payment, Refund
from adplatform.core.money import format_micros

GATEWAYS: dict[str, Gateway] = {Payment.Gateway.BANK: BankTransfer(), Payment.Gateway.STRIPE: Card()}
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without what people confuse on paper


class PaymentError(ledger.LedgerError):
    """A payment or refund that makes no sense, in a sentence a person can act on."""


def offered() -> list[str]:
    """The ways of paying that this platform has: cards only with Stripe's keys."""
    has_card = settings.STRIPE_SECRET_KEY and settings.STRIPE_WEBHOOK_SECRET
    return [Payment.Gateway.BANK, *([Payment.Gateway.STRIPE] if has_card else [])]


def ask(organisation: Organisation, micros: int, *, gateway: str, key: uuid.UUID) -> Payment:
    """Note that money is to come; `key` of the form: sent twice, asked once."""
    if gateway not in offered():
        raise PaymentError("This way of paying is not offered here.")
    reference = "AD-" + "".join(secrets.choice(_ALPHABET) for _ in range(10))
    given = {
        "organisation": organisation,
        "gateway": gateway,
        "micros": micros,
        "currency": organisation.currency,
        "reference": reference,
    }
    payment, _ = Payment.objects.get_or_create(public_id=key, defaults=given)
    if (payment.organisation_id, payment.micros) != (organisation.pk, micros):
        raise PaymentError("This form was sent before with another amount: open it again.")
    return payment


@transaction.atomic
def arrive(payment: Payment, micros: int, *, external_id: str, at: datetime) -> Payment:
    """The gateway, or an operator who reads the bank statement, says that money came: book it, once."""
    payment = (
        Payment.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=payment.pk)
    )
    if payment.status == Payment.Status.ARRIVED:
        return payment
    words = f"{payment.get_gateway_display()} {payment.reference}"
    payment.posting = services.deposit(
        payment.organisation, micros, key=f"{payment.gateway}:{payment.reference}", at=at, memo=words
    )
    payment.status, payment.arrived_at = Payment.Status.ARRIVED, at
    payment.micros, payment.external_id = micros, external_id
    payment.save()
    return payment


@transaction.atomic
def hear(payload: bytes, signature: str, *, at: datetime) -> str:
    """Act on a webhook of Stripe, once per event; returns what was done in a word."""
    message = card.read(payload, signature)
    _, is_new = GatewayEvent.objects.get_or_create(
        gateway=Payment.Gateway.STRIPE,
        event_id=message.event_id,
        defaults={"kind": message.kind, "received_at": at},
    )
    if not is_new:
        return "known"
    if message.failed_refund:
        return _refund_failed(message.failed_refund, at)
    if message.is_paid is None:
        return "ignored"
    payment = Payment.objects.filter(
        gateway=Payment.Gateway.STRIPE, reference=message.payment_reference
    ).first()
    if payment is None:
        return "unknown"
    if not message.is_paid:
        rows = Payment.objects.filter(pk=payment.pk, status=Payment.Status.PENDING)
        return "failed" if rows.update(status=Payment.Status.FAILED) else "known"
    if message.currency != payment.currency:
        raise GatewayError(f"{payment} is in {payment.currency}, what arrived in {message.currency}.")
    arrive(payment, message.micros, external_id=message.external_id, at=at)
    return "arrived"


def refundable(payment: Payment) -> int:
    """What of a payment could still go back: never more than was paid, nor more than is left of the money."""
    if payment.status != Payment.Status.ARRIVED:
        return 0
    sent = payment.refunds.exclude(state=Refund.State.FAILED).aggregate(micros=Sum("micros"))["micros"] or 0
    return int(max(0, min(payment.micros - sent, credit.own_money(payment.organisation))))


def refund(
    payment: Payment, micros: int, *, key: uuid.UUID, reason: str, by: User | None, at: datetime
) -> Refund:
    """Set the money aside and send it back through the payment's gateway. A gateway that does not answer leaves the
    refund waiting: `send` tries it again. `key` names the refund, so that asking twice sends once."""
    with transaction.atomic():
        payment = (
            Payment.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=payment.pk)
        )
        asked = Refund.objects.filter(public_id=key).first()
        if asked is None:
            most = refundable(payment)
            if not 0 < micros <= most:
                words = format_micros(most, payment.currency)
                raise PaymentError(f"Of {payment} at most {words} can go back.")
            held = credit.hold(
                payment.organisation, micros, key=f"refund:{key}", reason=f"Refund of {payment}", by=by, at=at
            )
            asked = Refund.objects.create(
                public_id=key,
                payment=payment,
                micros=micros,
                reason=reason,
                hold=held,
                requested_by=by,
                requested_at=at,
            )
    if payment.gateway != Payment.Gateway.BANK:
        send(asked, at=at)
    return asked


def send(asked: Refund, *, at: datetime, external_id: str = "") -> Refund:
    """Have the gateway send a waiting refund; for a transfer a person did, and `external_id` says how the bank calls it."""
    sent = external_id or GATEWAYS[asked.payment.gateway].refund(asked)
    if not sent:
        raise PaymentError("Say how the bank calls the transfer that you made.")
    with transaction.atomic():
        asked = Refund.objects.select_for_update(of=("self",)).get(pk=asked.pk)
        if asked.state == Refund.State.WAITING:
            credit.take(asked.hold, at=at, memo=f"Refund of {asked.payment}: {asked.reason}"[:200])
            asked.state, asked.external_id = Refund.State.SENT, sent
            asked.save(update_fields=["state", "external_id"])
    return asked


@transaction.atomic
def give_up(asked: Refund, *, at: datetime) -> Refund:
    """A waiting refund that will not be sent: its money can be spent again."""
    asked = Refund.objects.select_for_update(of=("self",)).get(pk=asked.pk)
    if asked.state != Refund.State.WAITING:
        raise PaymentError("This refund was decided before.")
    credit.release(asked.hold, at=at)
    asked.state = Refund.State.FAILED
    asked.save(update_fields=["state"])
    return asked


def _refund_failed(external_id: str, at: datetime) -> str:
    """The card's bank refused money that Stripe had sent: it is back, and the advertiser's again."""
    asked = Refund.objects.select_for_update(of=("self",)).filter(external_id=external_id).first()
    if asked is None or asked.state != Refund.State.SENT:
        return "unknown"
    organisation = asked.payment.organisation
    ledger.post(
        key=f"returned:{asked.public_id}",
        kind="deposit",
        entries={
            ledger.prepaid(organisation): asked.micros,
            ledger.cash(asked.payment.currency): -asked.micros,
        },
        effective_at=at,
        memo=f"Refund of {asked.payment} came back",
    )
    asked.state = Refund.State.FAILED
    asked.save(update_fields=["state"])
    return "returned"
