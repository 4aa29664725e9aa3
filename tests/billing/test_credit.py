"""Money on hold, money that is lent, and sums that two people have to look at."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from adplatform.billing import approvals, credit, queries, services
from adplatform.billing.models import CreditLimit, Hold
from adplatform.billing.verification import verify
from adplatform.campaigns import budgets
from tests import factories
from tests.billing.test_settlement import Market
from tests.billing.test_the_database_refuses import check_now
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db


def test_held_money_is_neither_spent_nor_refunded() -> None:
    advertiser = factories.organisation(currency="EUR")
    services.deposit(advertiser, 50 * MICROS, key="bank:1", at=NOON)
    with transaction.atomic():
        held = credit.hold(advertiser, 45 * MICROS, key="1", reason="Dispute", by=None, at=NOON)
    assert queries.granted([advertiser.pk]) == {advertiser.pk: 5 * MICROS}
    with pytest.raises(credit.CreditError, match=r"has €5.00 that is not spent"), transaction.atomic():
        credit.hold(advertiser, 6 * MICROS, key="2", reason="More", by=None, at=NOON)
    with transaction.atomic():
        credit.release(held, at=NOON)
    with pytest.raises(credit.CreditError, match="it was released"), transaction.atomic():
        credit.take(Hold.objects.get(), at=NOON, memo="late")
    assert queries.granted([advertiser.pk]) == {advertiser.pk: 50 * MICROS}
    assert verify().violations == []


def limit(micros: int, advertiser: Any) -> None:
    one, two = factories.operator(), factories.operator()
    given = {
        "kind": "credit_limit",
        "organisation": advertiser,
        "micros": micros,
        "words": "Credit",
        "detail": {},
    }
    proposal = approvals.ask(**given, key=uuid.uuid4(), by=one, at=NOON)
    assert proposal is not None
    with pytest.raises(approvals.ApprovalError, match="another operator"):
        approvals.approve(proposal, by=one, at=NOON)
    approvals.approve(proposal, by=two, at=NOON)
    with pytest.raises(approvals.ApprovalError, match="approved before"):
        approvals.approve(proposal, by=two, at=NOON)


def test_credit_is_spent_like_money_up_to_its_limit() -> None:
    market = Market(currency="EUR", deposit=0)
    limit(10 * MICROS, market.advertiser)
    campaign = market.creative.line_item.campaign
    charges = [budgets.Charge(campaign.pk, market.advertiser.pk, NOON, 6 * MICROS)] * 2
    with transaction.atomic():
        verdicts = budgets.charge(charges, granted=queries.granted, at=NOON)
    assert verdicts == [None, budgets.Refusal.NO_MONEY]
    market.charge(6 * MICROS)
    services.settle(at=NOON.replace(hour=13))
    assert queries.prepaid_balance(market.advertiser) == -6 * MICROS
    assert queries.available(market.advertiser) == 4 * MICROS

    check_now()
    # Taken back: the debt stays, nothing more is spent, and paying it off is possible.
    limit(0, market.advertiser)
    assert queries.available(market.advertiser) == -6 * MICROS
    services.deposit(market.advertiser, 2 * MICROS, key="bank:9", at=NOON)
    assert queries.prepaid_balance(market.advertiser) == -4 * MICROS
    assert verify().violations == []


def test_the_database_knows_four_eyes_too() -> None:
    advertiser, one = factories.organisation(), factories.operator()
    with pytest.raises(DatabaseError, match="credit_limit_is_seen_by_four_eyes"), transaction.atomic():
        CreditLimit.objects.create(
            organisation=advertiser, micros=1, proposed_by=one, approved_by=one, approved_at=NOON
        )


def test_small_sums_need_one_person_large_ones_two(settings: Any) -> None:
    settings.FOUR_EYES_UNITS = 100
    advertiser, one, two = factories.organisation(), factories.operator(), factories.operator()

    def ask(units: int, key: uuid.UUID) -> Any:
        given = {
            "kind": "deposit",
            "organisation": advertiser,
            "words": "Transfer",
            "detail": {"reference": "R"},
        }
        return approvals.ask(**given, micros=units * MICROS, key=key, by=one, at=NOON)

    assert ask(100, uuid.uuid4()) is None
    key = uuid.uuid4()
    proposal = ask(101, key)
    assert ask(101, key) == proposal
    assert queries.prepaid_balance(advertiser) == 100 * MICROS
    approvals.approve(proposal, by=two, at=NOON)
    assert queries.prepaid_balance(advertiser) == 201 * MICROS
    refused = ask(500, uuid.uuid4())
    approvals.refuse(refused, by=one, at=NOON)
    assert queries.prepaid_balance(advertiser) == 201 * MICROS
