"""A deposit is checked, confirmed and booked once; the books can be verified from the page."""

from __future__ import annotations

import pytest
from django.test import Client

from adplatform.accounts.models import AuditEntry, Organisation, User
from adplatform.billing.models import Posting
from adplatform.billing.queries import prepaid_balance
from tests import factories
from tests.factories import MICROS

pytestmark = pytest.mark.django_db
KEY = "0b0f7e52-98a7-4a6e-9d3c-0f5f1f1d2a3b"


@pytest.fixture
def op(client: Client) -> User:
    operator = factories.operator()
    client.force_login(operator)
    return operator


@pytest.fixture
def advertiser() -> Organisation:
    return factories.organisation(name="Cascade", currency="EUR")


def form(advertiser: Organisation, **fields: str) -> dict[str, object]:
    return {"organisation": advertiser.pk, "micros": "1,250.50", "reference": "INV 7", "key": KEY} | fields


def test_the_first_step_says_what_would_be_booked_and_books_nothing(
    client: Client, op: User, advertiser: Organisation
) -> None:
    text = client.post("/console/money/deposit/", form(advertiser)).content.decode()
    assert "€1,250.50 for Cascade?" in text
    assert prepaid_balance(advertiser) == 0


def test_a_confirmed_deposit_is_booked_once_however_often_it_is_sent(
    client: Client, op: User, advertiser: Organisation
) -> None:
    for _ in range(2):
        client.post("/console/money/deposit/", form(advertiser, confirmed="1"))
    assert prepaid_balance(advertiser) == 1_250_500_000
    posting = Posting.objects.get()
    assert (posting.key, posting.memo) == (f"deposit:{KEY}", "Bank transfer: INV 7")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.organisation, entry.detail["amount"]) == (
        "money.deposited",
        advertiser,
        "€1,250.50",
    )


def test_the_same_key_with_another_amount_is_refused(
    client: Client, op: User, advertiser: Organisation
) -> None:
    client.post("/console/money/deposit/", form(advertiser, confirmed="1"))
    answer = client.post("/console/money/deposit/", form(advertiser, confirmed="1", micros="9"), follow=True)
    assert "already posted with other entries" in answer.content.decode()
    assert prepaid_balance(advertiser) == 1_250_500_000


@pytest.mark.parametrize(
    "fields",
    [
        {"micros": "-5"},
        {"micros": "5.001"},
        {"micros": "much"},
        {"reference": ""},
        {"key": "1"},
        {"organisation": "0"},
    ],
)
def test_a_deposit_that_makes_no_sense_is_sent_back(
    client: Client, op: User, advertiser: Organisation, fields: dict[str, str]
) -> None:
    assert (
        client.post("/console/money/deposit/", form(advertiser, confirmed="1", **fields)).status_code == 422
    )
    assert not Posting.objects.exists()


def test_a_publisher_cannot_deposit(client: Client, op: User) -> None:
    assert (
        client.post("/console/money/deposit/", form(factories.publisher(), confirmed="1")).status_code == 422
    )
    assert not Posting.objects.exists()


def test_the_page_shows_balances_with_the_sign_people_expect(
    client: Client, op: User, advertiser: Organisation
) -> None:
    client.post("/console/money/deposit/", form(advertiser, confirmed="1", micros="100"))
    totals = client.get("/console/money/").context["totals"]
    assert {kind: held for kind, held in totals[0].items() if held} == {
        "currency": "EUR",
        "cash": 100 * MICROS,
        "prepaid": 100 * MICROS,
    }


def test_the_books_are_verified_from_the_page(client: Client, op: User, advertiser: Organisation) -> None:
    client.post("/console/money/deposit/", form(advertiser, confirmed="1"))
    answer = client.post("/console/money/verify/")
    assert (answer.context["found"].postings, answer.context["found"].violations) == (1, [])
    assert "Sound" in answer.content.decode()
