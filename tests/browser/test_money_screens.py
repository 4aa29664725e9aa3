"""Every page about money in both themes and both widths, with something of everything on it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from adplatform.accounts.models import Membership, User
from adplatform.billing import approvals, credit_notes, invoices, payments, payouts, services
from adplatform.billing.models import BillingProfile, Invoice, LowBalance, Payee, PayoutBatch
from adplatform.core import clock
from tests import factories as f
from tests.billing.test_settlement import Market
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow
from tests.factories import MICROS

pytestmark = [pytest.mark.browser, pytest.mark.long]


@pytest.fixture
def books(settings: Any) -> tuple[Membership, Membership, User]:
    """(advertiser, publisher, operator) after two months: paid, spent, invoiced, credited, paid out, asked for more."""
    settings.SELLER = {
        **{"name": "Adhaus GmbH", "address": "Weg 1\n10115 Berlin", "country": "DE", "vat_id": "DE123456789"},
        **{"iban": "DE89370400440532013000", "bic": "COBADEFFXXX"},
    }
    at = clock.now()
    month = invoices.month_before(at)
    market = Market(currency="EUR", deposit=0)
    advertiser, publisher = f.member(market.advertiser), f.member(market.publisher)
    one, two = (f.operator(name=name) for name in ("Olga One", "Tom Two"))
    BillingProfile.objects.create(
        organisation=market.advertiser, legal_name="Käufer GmbH", address="Straße 2", country="DE"
    )
    Payee.objects.create(organisation=market.publisher, holder="Zeitung Süd", iban="DE89370400440532013000")
    paid = payments.ask(market.advertiser, 900 * MICROS, gateway="bank", key=uuid.uuid4())
    payments.arrive(paid, 900 * MICROS, external_id="", at=at - timedelta(days=70))
    market.charge(400 * MICROS, at=at.replace(year=month.year, month=month.month, day=1) - timedelta(days=12))
    market.charge(123_456_789, at=at.replace(year=month.year, month=month.month, day=2))
    services.settle(at=at, everything=True)
    invoices.issue_month(month, at=at)
    credit_notes.issue(Invoice.objects.get(), 10 * MICROS, key="a", reason="Late start", at=at)
    batch = payouts.prepare(at=at, by=one)[0]
    payouts.mark_paid(payouts.approve(batch, by=two, at=at), by=one, at=at)
    market.charge(100 * MICROS, at=at - timedelta(days=35))
    services.settle(at=at, everything=True)
    payouts.prepare(at=at)
    payments.ask(market.advertiser, 250 * MICROS, gateway="bank", key=uuid.uuid4())
    payments.refund(paid, 5 * MICROS, key=uuid.uuid4(), reason="Asked for", by=one, at=at)
    for micros, by in ((700 * MICROS, one), (800 * MICROS, two)):
        given = {
            "kind": "credit_limit",
            "organisation": market.advertiser,
            "words": "Credit limit",
            "detail": {},
        }
        approvals.ask(**given, micros=micros, key=uuid.uuid4(), by=by, at=at)
    LowBalance.objects.create(
        organisation=market.advertiser, since=at, available_micros=30 * MICROS, daily_micros=25 * MICROS
    )
    return advertiser, publisher, one


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_every_page(
    page: Page,
    sign_in: SignIn,
    shot: Shot,
    books: tuple[Membership, Membership, User],
    theme: str,
    width: str,
) -> None:
    advertiser, publisher, operator = books
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    payment = advertiser.organisation.payments.filter(status="pending").get()
    waiting = PayoutBatch.objects.filter(state="prepared").get()
    visits = {
        "billing": (advertiser.user, "/billing/"),
        "deposit": (advertiser.user, "/billing/deposit/"),
        "payment": (advertiser.user, f"/billing/payments/{payment.public_id}/"),
        "invoices": (advertiser.user, "/billing/invoices/"),
        "profile": (advertiser.user, "/billing/profile/"),
        "earnings": (publisher.user, "/publisher/earnings/"),
        "payee": (publisher.user, "/publisher/earnings/payee/"),
        "books": (operator, "/console/money/"),
        "approvals": (operator, "/console/money/approvals/"),
        "transfers": (operator, "/console/money/transfers/"),
        "arrival": (operator, f"/console/money/transfers/{payment.public_id}/"),
        "all-invoices": (operator, "/console/money/invoices/"),
        "payer": (operator, f"/console/money/payers/{advertiser.organisation.public_id}/"),
        "payouts": (operator, "/console/money/payouts/"),
        "batch": (operator, f"/console/money/payouts/{waiting.public_id}/"),
    }
    signed_in = None
    for name, (person, url) in visits.items():
        if person != signed_in:
            sign_in(person)
            signed_in = person
        page.goto(url)
        shot(f"money-{name}-{theme}-{width}")
        assert overflow(page) == 0, name
        assert nameless(page) == [], name


def test_money_moves_only_after_it_was_confirmed(
    page: Page, sign_in: SignIn, shot: Shot, books: tuple[Membership, Membership, User]
) -> None:
    _advertiser, _publisher, operator = books
    waiting = PayoutBatch.objects.filter(state="prepared").get()
    sign_in(operator)
    page.goto(f"/console/money/payouts/{waiting.public_id}/")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("heading", name="Approve this batch?")).to_be_visible()
    shot("money-confirm")
    waiting.refresh_from_db()
    assert waiting.first_by is None
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.get_by_text("A second operator has to, too.")).to_be_visible()
