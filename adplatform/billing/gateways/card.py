"""Cards through Stripe's own library: a Checkout page of theirs, a signed webhook back, refunds to the same card.

Amounts travel in the currency's minor unit. Stripe keeps two decimals for ISK and UGX, which have none any more.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import stripe
from django.conf import settings

from adplatform.billing.gateways.base import GatewayError, Started
from adplatform.billing.models import Payment, Refund
from adplatform.core import money

_TWO_DECIMALS = {"ISK", "UGX"}
_PAID = {"checkout.session.completed", "checkout.session.async_payment_succeeded"}
_NOT_PAID = {"checkout.session.expired", "checkout.session.async_payment_failed"}


@dataclass(frozen=True, slots=True)
class Message:
    """What a signed webhook says; `is_paid` None: nothing that we act on."""

    event_id: str
    kind: str
    is_paid: bool | None = None
    payment_reference: str = ""
    external_id: str = ""
    micros: int = 0
    currency: str = ""
    failed_refund: str = ""


class Card:
    def start(self, payment: Payment, *, return_url: str) -> Started:
        params: dict[str, Any] = {
            "mode": "payment",
            "client_reference_id": payment.reference,
            "success_url": return_url,
            "cancel_url": return_url,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": payment.currency.lower(),
                        "unit_amount": to_minor(payment.micros, payment.currency),
                        "product_data": {"name": f"Prepaid advertising {payment.reference}"},
                    },
                }
            ],
            "payment_intent_data": {"metadata": {"payment": payment.reference}},
        }
        session = _ask(
            lambda client: client.v1.checkout.sessions.create(
                params=params,
                options={"idempotency_key": f"checkout-{payment.public_id}"},
            )
        )
        return Started(str(session.url))

    def refund(self, refund: Refund) -> str:
        sent = _ask(
            lambda client: client.v1.refunds.create(
                params={
                    "payment_intent": refund.payment.external_id,
                    "amount": to_minor(refund.micros, refund.payment.currency),
                    "metadata": {"refund": str(refund.public_id)},
                },
                options={"idempotency_key": f"refund-{refund.public_id}"},
            )
        )
        if sent.status in {"failed", "canceled"}:
            raise GatewayError("Stripe could not send the money back to the card.")
        return str(sent.id)


def read(payload: bytes, signature: str) -> Message:
    """A webhook whose signature (of the last five minutes) is Stripe's; anything else is a GatewayError."""
    try:
        event = stripe.Webhook.construct_event(payload, signature, settings.STRIPE_WEBHOOK_SECRET)
    except (ValueError, stripe.SignatureVerificationError) as error:
        raise GatewayError("This message is not signed by Stripe.") from error
    return _message(event.to_dict())


def to_minor(micros: int, currency: str) -> int:
    coin: int = 10 ** (6 - _digits(currency))
    return micros // coin


def to_micros(minor: int, currency: str) -> int:
    return int(minor * 10 ** (6 - _digits(currency)))


def _message(event: Mapping[str, Any]) -> Message:
    kind, thing = str(event["type"]), event["data"]["object"]
    told = functools.partial(Message, event_id=str(event["id"]), kind=kind)
    if kind == "refund.failed":
        return told(failed_refund=str(thing["id"]))
    # A completed session of a slow method (a bank debit) is paid later, and says so by another event.
    if kind in _PAID and thing["payment_status"] == "paid":
        currency = str(thing["currency"]).upper()
        return told(
            is_paid=True,
            payment_reference=str(thing["client_reference_id"]),
            external_id=str(thing["payment_intent"]),
            micros=to_micros(int(thing["amount_total"]), currency),
            currency=currency,
        )
    if kind in _NOT_PAID:
        return told(is_paid=False, payment_reference=str(thing["client_reference_id"]))
    return told()


def _digits(currency: str) -> int:
    return 2 if currency.upper() in _TWO_DECIMALS else money.digits_of(currency)


def _ask(question: Any) -> Any:
    options: dict[str, Any] = {"max_network_retries": 2}
    if settings.STRIPE_API_BASE:
        options["base_addresses"] = {"api": settings.STRIPE_API_BASE}
    try:
        return question(stripe.StripeClient(settings.STRIPE_SECRET_KEY, **options))
    except stripe.StripeError as error:
        raise GatewayError(f"Stripe says: {error.user_message or error}") from error
