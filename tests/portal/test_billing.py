"""Adding money, invoices and their address: one's own only, shown before it is done, done once."""

from __future__ import annotations

import json
import uuid
from datetime import date, timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from adplatform.billing import invoices, low_balance, queries, services
from adplatform.billing.models import BillingProfile, Invoice, LowBalance, Payment
from adplatform.billing.tasks import mail_low_balance
from tests import factories
from tests.billing.test_payments import SECRET, event, paid, signed
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON
from tests.portal.conftest import Tenant

pytestmark = pytest.mark.django_db


def form(**fields: Any) -> dict[str, Any]:
    return {"micros": "125.50", "gateway": "bank", "key": "0b0f7e52-98a7-4a6e-9d3c-0f5f1f1d2a3b"} | fields


def test_a_transfer_is_announced_once_and_shows_its_reference(ours: Tenant, settings: Any) -> None:
    settings.SELLER = settings.SELLER | {"name": "Adhaus", "iban": "DE89370400440532013000"}
    assert "Add $125.50 to Ours?" in ours.client.post("/billing/deposit/", form()).content.decode()
    assert not Payment.objects.exists()
    for _ in range(2):
        answer = ours.client.post("/billing/deposit/", form(confirmed="1"))
    payment = Payment.objects.get()
    assert (payment.status, payment.micros) == ("pending", 125_500_000)
    text = ours.client.get(answer["Location"]).content.decode()
    assert payment.reference in text
    assert "DE89370400440532013000" in text
    assert queries.prepaid_balance(ours.organisation) == 0


def test_what_is_no_amount_is_sent_back(ours: Tenant) -> None:
    for wrong in ({"micros": "-1"}, {"micros": "1.234"}, {"gateway": "stripe"}, {"key": "x"}):
        assert ours.client.post("/billing/deposit/", form(confirmed="1", **wrong)).status_code == 422
    assert not Payment.objects.exists()


def test_an_analyst_adds_nothing(analyst: Client) -> None:
    assert analyst.post("/billing/deposit/", form(confirmed="1")).status_code == 403
    assert analyst.post("/billing/profile/", {}).status_code == 403
    assert not Payment.objects.exists()


def test_strangers_payments_and_invoices_do_not_exist(ours: Tenant, theirs: Tenant) -> None:
    ours.client.post("/billing/deposit/", form(confirmed="1"))
    payment = Payment.objects.get()
    assert theirs.client.get(f"/billing/payments/{payment.public_id}/").status_code == 404
    market = Market()
    market.charge(MICROS)
    services.settle(at=NOON + timedelta(hours=1))
    invoices.issue_month(date(2026, 6, 1), at=NOON + timedelta(days=20))
    invoice = Invoice.objects.get()
    assert ours.client.get(f"/billing/invoices/{invoice.public_id}.pdf").status_code == 404
    own = Client()
    own.force_login(factories.member(market.advertiser).user)
    answer = own.get(f"/billing/invoices/{invoice.public_id}.pdf")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    assert answer["Content-Disposition"] == 'attachment; filename="INV-2026-000001.pdf"'
    assert "INV-2026-000001" in own.get("/billing/invoices/").content.decode()


def test_stripe_reports_to_the_webhook_without_signing_in(client: Client, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_local", SECRET
    advertiser = factories.organisation()
    payment = Payment.objects.create(
        organisation=advertiser, gateway="stripe", micros=MICROS, currency="USD", reference="AD-1"
    )
    body = event("checkout.session.completed", paid(payment))

    def send(signature: str) -> int:
        return client.generic(
            "POST", "/webhooks/stripe/", body, "application/json", headers={"Stripe-Signature": signature}
        ).status_code

    assert send("t=1,v1=00") == 400
    assert [send(signed(body)), send(signed(body))] == [200, 200]
    assert queries.prepaid_balance(advertiser) == 125_500_000
    assert json.loads(body)["id"] == "evt_1"


def test_invoices_are_addressed_as_the_advertiser_says(ours: Tenant) -> None:
    wrong = {"legal_name": "Ours Ltd", "address": "Weg 1", "country": "DE", "vat_id": "FR123"}
    assert ours.client.post("/billing/profile/", wrong).status_code == 422
    ours.client.post("/billing/profile/", wrong | {"country": "de", "vat_id": "de 123 456 789"})
    profile = BillingProfile.objects.get()
    assert (profile.legal_name, profile.country, profile.vat_id) == ("Ours Ltd", "DE", "DE123456789")


def test_little_money_is_told_by_mail_once_and_by_a_banner_until_there_is_more(db: None) -> None:
    market = Market(deposit=10 * MICROS)
    owner = factories.member(market.advertiser)
    factories.member(factories.organisation())  # whom it does not concern
    market.charge(9 * MICROS)  # three a day
    client = Client()
    client.force_login(owner.user)
    for _ in range(2):
        low_balance.watch(at=NOON + timedelta(hours=1))
        assert low_balance.unmailed() in ([market.advertiser.pk], [])
        mail_low_balance(organisation=market.advertiser.pk)
    (message,) = mail.outbox
    assert message.to == [owner.user.email]
    assert "can still spend $1.00; lately a day cost $3.00" in message.body
    assert "Little money is left." in client.get("/billing/").content.decode()

    services.deposit(market.advertiser, 100 * MICROS, key=str(uuid.uuid4()), at=NOON)
    assert low_balance.watch(at=NOON + timedelta(hours=2)) == (0, 1)
    assert not LowBalance.objects.exists()
