"""Deposits and refunds: by transfer, and by card against a local server that speaks Stripe's protocol."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl

import pytest
import stripe
from django.db import DatabaseError, connection, transaction

from adplatform.billing import ledger, payments, queries, services
from adplatform.billing.gateways import card
from adplatform.billing.gateways.base import GatewayError
from adplatform.billing.models import GatewayEvent, Payment, Posting, Refund
from adplatform.billing.verification import verify
from tests import factories
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
SECRET = "whsec_test"
# Of the shapes that the types of Stripe's library know: tests/billing/test_stripe_types.py.
SESSION: dict[str, Any] = {
    **{"object": "checkout.session", "mode": "payment", "livemode": False, "metadata": {}, "customer": None},
    **{"created": 1_781_524_000, "expires_at": 1_781_610_400, "payment_method_types": ["card"]},
    **{"automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None}},
    **{"custom_fields": [], "custom_text": {"submit": None}, "shipping_options": []},
}


@dataclass
class Stripe:
    """What the local server was asked, and what it answers to the same idempotency key again."""

    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    refund_status: str = "succeeded"
    is_down: bool = False

    def answer(self, path: str, key: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append((path, key, form))
        if self.is_down:
            return 402, {"error": {"type": "card_error", "code": "x", "message": "Your account is closed."}}
        if key not in self.answers:
            number = len(self.answers) + 1
            made: dict[str, Any] = {"/v1/checkout/sessions": self.session, "/v1/refunds": self.refund}
            self.answers[key] = made[path](number, form)
        return 200, self.answers[key]

    def session(self, number: int, form: dict[str, str]) -> dict[str, Any]:
        return {
            **SESSION,
            **{
                "id": f"cs_test_{number}",
                "status": "open",
                "payment_status": "unpaid",
                "url": f"https://checkout.stripe.com/c/pay/cs_test_{number}",
            },
            "client_reference_id": form["client_reference_id"],
        }

    def refund(self, number: int, form: dict[str, str]) -> dict[str, Any]:
        return {
            **{"id": f"re_{number}", "object": "refund", "amount": int(form["amount"]), "currency": "eur"},
            **{"payment_intent": form["payment_intent"], "status": self.refund_status, "reason": None},
            **{"created": 1_781_524_900, "metadata": {}},
        }


@pytest.fixture
def stripe_server(settings: Any) -> Iterator[Stripe]:
    state = Stripe()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, words = state.answer(self.path, self.headers["Idempotency-Key"], dict(parse_qsl(body)))
            content = json.dumps(words).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{server.server_port}"
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_local", SECRET
    yield state
    server.shutdown()
    server.server_close()


def event(kind: str, thing: dict[str, Any], *, event_id: str = "evt_1") -> bytes:
    """A webhook's body in the shape that Stripe sends."""
    body = {
        **{"id": event_id, "object": "event", "api_version": stripe.api_version, "created": 1_781_524_800},
        **{
            "type": kind,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
        },
        "data": {"object": thing},
    }
    return json.dumps(body).encode()


def paid(payment: Payment, **fields: Any) -> dict[str, Any]:
    """A completed checkout session."""
    return {
        **SESSION,
        **{"id": "cs_test_1", "status": "complete"},
        **{"amount_total": 12_550, "currency": payment.currency.lower(), "payment_status": "paid"},
        **{"client_reference_id": payment.reference, "payment_intent": "pi_1"},
        **{"customer_details": {"email": None, "name": None}},
    } | fields


def failed_refund(external_id: str) -> dict[str, Any]:
    return {
        **{
            "id": external_id,
            "object": "refund",
            "amount": 2_000,
            "currency": "eur",
            "created": 1_781_524_900,
        },
        **{"status": "failed", "failure_reason": "lost_or_stolen_card", "payment_intent": "pi_1"},
    }


def signed(body: bytes, *, secret: str = SECRET, age: int = 0) -> str:
    at = int(time.time()) - age
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def hear(body: bytes) -> str:
    return payments.hear(body, signed(body), at=NOON)


@pytest.fixture
def payment(stripe_server: Stripe) -> Payment:
    """125.50 euros asked for by card."""
    advertiser = factories.organisation(currency="EUR")
    return payments.ask(advertiser, 125_500_000, gateway="stripe", key=uuid.uuid4())


def test_the_payer_is_sent_to_checkout_with_the_amount_in_cents(
    payment: Payment, stripe_server: Stripe
) -> None:
    started = [card.Card().start(payment, return_url="http://here/billing/") for _ in range(2)]
    assert [go.redirect_url for go in started] == ["https://checkout.stripe.com/c/pay/cs_test_1"] * 2
    path, key, form = stripe_server.asked[0]
    assert (path, key) == ("/v1/checkout/sessions", f"checkout-{payment.public_id}")
    assert form["line_items[0][price_data][unit_amount]"] == "12550"
    assert form["line_items[0][price_data][currency]"] == "eur"
    assert form["client_reference_id"] == payment.reference


def test_a_signed_webhook_books_once_however_often_it_comes(payment: Payment) -> None:
    body = event("checkout.session.completed", paid(payment))
    again = event("checkout.session.async_payment_succeeded", paid(payment), event_id="evt_2")
    assert [hear(body), hear(body), hear(again)] == ["arrived", "known", "arrived"]
    assert queries.prepaid_balance(payment.organisation) == 125_500_000
    assert Posting.objects.get().key == f"deposit:stripe:{payment.reference}"
    payment.refresh_from_db()
    assert (payment.status, payment.external_id) == ("arrived", "pi_1")


@pytest.mark.parametrize("wrong", [{"secret": "whsec_other"}, {"age": 400}])
def test_a_forged_or_old_webhook_is_refused(payment: Payment, wrong: dict[str, Any]) -> None:
    body = event("checkout.session.completed", paid(payment))
    with pytest.raises(GatewayError, match="not signed by Stripe"):
        payments.hear(body, signed(body, **wrong), at=NOON)
    with pytest.raises(GatewayError):
        payments.hear(body + b" ", signed(body), at=NOON)
    assert not GatewayEvent.objects.exists()
    assert not Posting.objects.exists()


def test_webhooks_that_bring_no_money(payment: Payment) -> None:
    assert hear(event("customer.created", {"id": "cus_1"})) == "ignored"
    waits = paid(payment, payment_status="unpaid")
    assert hear(event("checkout.session.completed", waits, event_id="evt_2")) == "ignored"
    unknown = paid(payment, client_reference_id="AD-OTHER")
    assert hear(event("checkout.session.completed", unknown, event_id="evt_3")) == "unknown"
    assert hear(event("checkout.session.expired", paid(payment), event_id="evt_4")) == "failed"
    payment.refresh_from_db()
    assert payment.status == "failed"
    with pytest.raises(GatewayError, match="is in EUR, what arrived in USD"):
        hear(event("checkout.session.completed", paid(payment, currency="usd"), event_id="evt_5"))
    assert not Posting.objects.exists()


@pytest.mark.parametrize(
    ("currency", "micros", "minor"),
    [
        ("JPY", 500_000_000, 500),
        ("EUR", 12_340_000, 1_234),
        ("KWD", 1_234_000, 1_234),
        ("ISK", 5_000_000, 500),
    ],
)
def test_minor_units(currency: str, micros: int, minor: int) -> None:
    assert (card.to_minor(micros, currency), card.to_micros(minor, currency)) == (minor, micros)


@pytest.fixture
def arrived(payment: Payment) -> Payment:
    hear(event("checkout.session.completed", paid(payment)))
    payment.refresh_from_db()
    return payment


def back(payment: Payment, micros: int, key: uuid.UUID | None = None) -> Refund:
    return payments.refund(payment, micros, key=key or uuid.uuid4(), reason="Asked for", by=None, at=NOON)


def test_a_refund_goes_to_the_same_card_once(arrived: Payment, stripe_server: Stripe) -> None:
    key = uuid.uuid4()
    for _ in range(3):
        asked = back(arrived, 25_500_000, key)
    asked.refresh_from_db()
    assert (asked.state, asked.external_id) == ("sent", "re_1")
    assert queries.prepaid_balance(arrived.organisation) == 100 * MICROS
    assert queries.balance(ledger.cash("EUR")) == -100 * MICROS
    path, idempotency, form = stripe_server.asked[-1]
    assert (path, idempotency, form["payment_intent"], form["amount"]) == (
        "/v1/refunds",
        f"refund-{key}",
        "pi_1",
        "2550",
    )
    assert verify().violations == []


def test_never_more_than_was_paid_nor_than_is_left(arrived: Payment) -> None:
    services.deposit(arrived.organisation, 1_000 * MICROS, key="bank:1", at=NOON)
    back(arrived, 100 * MICROS)
    with pytest.raises(payments.PaymentError, match=r"at most €25.50 can go back"):
        back(arrived, 25_500_001)
    with pytest.raises(DatabaseError, match="exceed the payment"), transaction.atomic():
        connection.cursor().execute(
            "UPDATE billing_refund SET micros = 125500001; SET CONSTRAINTS ALL IMMEDIATE"
        )


def test_money_that_was_spent_cannot_go_back() -> None:
    market = Market(currency="EUR", deposit=0)
    transfer = payments.ask(market.advertiser, 50 * MICROS, gateway="bank", key=uuid.uuid4())
    payments.arrive(transfer, 50 * MICROS, external_id="", at=NOON)
    market.charge(30 * MICROS)  # not settled yet
    transfer.refresh_from_db()
    assert payments.refundable(transfer) == 20 * MICROS


def test_a_gateway_that_is_down_leaves_the_refund_waiting_and_trying_again_sends_it(
    arrived: Payment, stripe_server: Stripe
) -> None:
    stripe_server.is_down = True
    with pytest.raises(GatewayError, match="Your account is closed"):
        back(arrived, 25_500_000)
    asked = Refund.objects.get()
    assert (asked.state, queries.held_balance(arrived.organisation)) == ("waiting", 25_500_000)
    assert queries.prepaid_balance(arrived.organisation) == 100 * MICROS
    assert verify().violations == []

    stripe_server.is_down = False
    assert payments.send(asked, at=NOON).state == "sent"
    assert queries.held_balance(arrived.organisation) == 0


def test_a_refund_that_the_cards_bank_returns_is_the_advertisers_again(arrived: Payment) -> None:
    back(arrived, 25_500_000)
    failed = event("refund.failed", failed_refund("re_1"), event_id="evt_9")
    assert [hear(failed), hear(failed)] == ["returned", "known"]
    assert queries.prepaid_balance(arrived.organisation) == 125_500_000
    assert payments.refundable(arrived) == 125_500_000


def test_a_transfer_is_sent_back_by_hand_or_given_up() -> None:
    advertiser = factories.organisation(currency="EUR")
    transfer = payments.ask(advertiser, 50 * MICROS, gateway="bank", key=uuid.uuid4())
    payments.arrive(transfer, 50 * MICROS, external_id="", at=NOON)
    first, second = back(transfer, 20 * MICROS), back(transfer, 10 * MICROS)
    assert queries.prepaid_balance(advertiser) == 20 * MICROS
    payments.send(first, at=NOON, external_id="Bank 77")
    payments.give_up(second, at=NOON)
    with pytest.raises(payments.PaymentError, match="decided before"):
        payments.give_up(first, at=NOON)
    assert queries.prepaid_balance(advertiser) == 30 * MICROS
    assert verify().violations == []


@pytest.mark.django_db(transaction=True)
def test_five_refunds_at_once_send_what_there_is(stripe_server: Stripe) -> None:
    advertiser = factories.organisation(currency="EUR")
    transfer = payments.ask(advertiser, 50 * MICROS, gateway="bank", key=uuid.uuid4())
    payments.arrive(transfer, 50 * MICROS, external_id="", at=NOON)
    refused: list[str] = []

    def run() -> None:
        try:
            back(transfer, 30 * MICROS)
        except ledger.LedgerError as error:
            refused.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Refund.objects.count(), len(refused)) == (1, 4)
    assert queries.prepaid_balance(advertiser) == 20 * MICROS
