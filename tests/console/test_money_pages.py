"""Operators' pages about money: shown before it moves, by two people where it is much, never twice."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client

from adplatform.accounts.models import User
from adplatform.billing import invoices, payments, payouts, queries, services
from adplatform.billing.models import Payee, Payment, PayoutBatch, Proposal, Refund
from adplatform.billing.verification import verify
from adplatform.core import clock
from tests import factories
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(days=40)


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: LATER)


def signed_in() -> Client:
    client = Client()
    operator: User = factories.operator()
    client.force_login(operator)
    return client


@pytest.fixture
def market() -> Market:
    """70 euros were spent in June; the publisher gets all of it, and said where to."""
    market = Market(currency="EUR", share_bp=10_000, deposit=0)
    payment = payments.ask(market.advertiser, 100 * MICROS, gateway="bank", key=uuid.uuid4())
    payments.arrive(payment, 100 * MICROS, external_id="", at=NOON)
    market.charge(70 * MICROS)
    services.settle(at=NOON + timedelta(hours=1))
    invoices.issue_month(date(2026, 6, 1), at=LATER)
    Payee.objects.create(organisation=market.publisher, holder="Zeitung", iban="DE89370400440532013000")
    return market


def act(client: Client, market: Market, action: str, **fields: Any) -> Any:
    url = f"/console/money/payers/{market.advertiser.public_id}/{action}/"
    return client.post(url, {"key": str(uuid.uuid4())} | fields)


def test_every_page_opens_for_operators_only(market: Market) -> None:
    batch = payouts.prepare(at=LATER)[0]
    pages = [f"/console/money/{name}/" for name in ("approvals", "transfers", "invoices", "payouts")]
    pages += [
        f"/console/money/payers/{market.advertiser.public_id}/",
        f"/console/money/payouts/{batch.public_id}/",
    ]
    pages += [f"/console/money/invoices/{market.advertiser.invoices.get().public_id}.pdf"]
    client, stranger = signed_in(), Client()
    stranger.force_login(factories.member(market.advertiser).user)
    for page in pages:
        assert client.get(page).status_code == 200, page
        assert stranger.get(page).status_code == 404, page


def test_an_announced_transfer_is_looked_at_and_booked_with_what_really_came(market: Market) -> None:
    payment = payments.ask(market.advertiser, 50 * MICROS, gateway="bank", key=uuid.uuid4())
    client, url = signed_in(), f"/console/money/transfers/{payment.public_id}/"
    values = {"micros": "49.00", "reference": "Line 7", "key": str(uuid.uuid4())}
    assert "€49.00 for" in client.post(url, values).content.decode()
    assert queries.prepaid_balance(market.advertiser) == 30 * MICROS
    assert client.post(url, values | {"confirmed": "1"}).status_code == 302
    assert client.post(url, values | {"confirmed": "1"}).status_code == 404
    assert queries.prepaid_balance(market.advertiser) == 79 * MICROS
    assert Payment.objects.get(pk=payment.pk).micros == 49 * MICROS


def test_a_credit_limit_waits_for_another_operator(market: Market) -> None:
    one, two = signed_in(), signed_in()
    assert "Credit limit of €40.00" in act(one, market, "credit_limit", micros="40").content.decode()
    assert not Proposal.objects.exists()
    act(one, market, "credit_limit", micros="40", confirmed="1")
    proposal = Proposal.objects.get()
    approve = f"/console/money/approvals/{proposal.key}/approve/"
    assert "another operator has to approve" in one.post(approve, follow=True).content.decode()
    assert queries.available(market.advertiser) == 30 * MICROS
    two.post(approve)
    two.post(approve)
    assert queries.available(market.advertiser) == 70 * MICROS


def test_a_refund_a_hold_and_a_credit_note(market: Market) -> None:
    client = signed_in()
    payment, invoice = Payment.objects.get(), market.advertiser.invoices.get()
    assert act(client, market, "refund", payment=payment.pk, micros="0", reason="x").status_code == 422
    refund = {"payment": payment.pk, "micros": "12.00", "reason": "Asked", "key": str(uuid.uuid4())}
    for _ in range(2):
        act(client, market, "refund", **refund, confirmed="1")
    asked = Refund.objects.get()
    client.post(f"/console/money/refunds/{asked.public_id}/", {"reference": "Line 9"})
    asked.refresh_from_db()
    assert (asked.state, queries.prepaid_balance(market.advertiser)) == ("sent", 18 * MICROS)
    act(client, market, "hold", micros="8.00", reason="Dispute", confirmed="1")
    assert queries.available(market.advertiser) == 10 * MICROS
    held = market.advertiser.holds.get(refund=None)
    client.post(f"/console/money/payers/{market.advertiser.public_id}/holds/{held.public_id}/release/")
    assert queries.available(market.advertiser) == 18 * MICROS
    act(client, market, "credit_note", invoice=invoice.pk, micros="5.00", reason="Late", confirmed="1")
    assert queries.available(market.advertiser) == 23 * MICROS
    too_much = act(client, market, "credit_note", invoice=invoice.pk, micros="66", reason="x", confirmed="1")
    assert "at most €65.00 net" in client.get(too_much["Location"]).content.decode()
    assert verify().violations == []


def test_a_payout_from_preparing_to_the_bank(market: Market, settings: Any) -> None:
    settings.SELLER = settings.SELLER | {"name": "Adhaus", "iban": "DE89370400440532013000"}
    one, two = signed_in(), signed_in()
    for _ in range(2):
        one.post("/console/money/payouts/prepare/")
    batch = PayoutBatch.objects.get()
    page = f"/console/money/payouts/{batch.public_id}/"
    assert one.get(f"{page}file.xml").status_code == 404
    assert "a second operator" in one.post(f"{page}approve/", follow=True).content.decode()
    two.post(f"{page}approve/")
    assert b"<CtrlSum>70.00</CtrlSum>" in one.get(f"{page}file.xml").content
    assert b"70.00,EUR" in one.get(f"{page}file.csv").content
    for _ in range(2):
        two.post(f"{page}paid/")
    batch.refresh_from_db()
    assert (batch.state, queries.earned_balance(market.publisher)) == ("paid", 0)
    publisher = Client()
    publisher.force_login(factories.member(market.publisher).user)
    assert "Paid" in publisher.get("/publisher/earnings/").content.decode()


def test_a_publisher_says_where_its_money_goes() -> None:
    owner = factories.member(factories.publisher())
    client, analyst = Client(), Client()
    client.force_login(owner.user)
    analyst.force_login(factories.member(owner.organisation, role="manager").user)
    wrong = {"holder": "Zeitung", "iban": "DE89 3704 0044 0532 0130 01", "bic": ""}
    assert client.post("/publisher/earnings/payee/", wrong).status_code == 422
    right = wrong | {"iban": "de89 3704 0044 0532 0130 00"}
    assert analyst.post("/publisher/earnings/payee/", right).status_code == 403
    assert client.post("/publisher/earnings/payee/", right).status_code == 302
    assert Payee.objects.get().iban == "DE89370400440532013000"
