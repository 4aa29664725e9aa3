"""The demo's desks are not empty: papers, transfers, credit, payouts and demands, each once, through the real services."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from adplatform.billing import invoices, payouts, pdf
from adplatform.billing.models import CreditLimit, Invoice, Payment, Payout, Posting, Proposal, Refund
from adplatform.billing.reconciliation import reconcile
from adplatform.billing.services import settle
from adplatform.billing.verification import verify
from adplatform.demo import paperwork
from adplatform.demo.build import OPERATOR, SECOND_OPERATOR, build, person
from adplatform.demo.catalogue import market
from adplatform.demo.history import History
from adplatform.demo.truth import generate
from adplatform.inventory.models import BlockRule, CompetingPair, FloorRule, HouseAd

START = datetime(2026, 10, 20, tzinfo=UTC)
END = START + timedelta(days=30)


@pytest.mark.django_db(transaction=True)
def test_a_month_leaves_its_papers_once(
    hot: Any, events: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SELLER = settings.SELLER | {"country": "DE"}
    settings.PAYOUT_HOLD_DAYS, settings.PAYOUT_MINIMUM_UNITS = 7, 0
    plan = market()
    made = build(plan, starts_at=START)
    history = History(plan=plan, truth=generate(plan, people=25, seed=7), market=made, seed=7, scale=0.5)
    for day in (START, START + timedelta(days=18)):
        history.live(day.date(), after_round=lambda _: None)
        settle(at=day + timedelta(days=2))
        invoices.issue_month(date(2026, 10, 1), at=datetime(2026, 11, 4, tzinfo=UTC))
        if day == START:
            payouts.prepare(at=datetime(2026, 11, 5, tzinfo=UTC))
    # So few people see little of some advertisers: a tenth of the largest invoice is more than a coin.
    largest = Invoice.objects.select_related("organisation").order_by("-net_micros")[0]
    monkeypatch.setattr(paperwork, "CREDITED", largest.organisation.name)
    operator = person(OPERATOR, "Olga")
    second = person(SECOND_OPERATOR, "Oskar", is_staff=True)

    def desks() -> dict[str, int]:
        paperwork.finish(operator=operator, second=second, at=END)
        assert (verify().violations, reconcile().violations) == ([], [])
        models = (Invoice, Payout, Payment, Refund, CreditLimit, Proposal, Posting)
        return {model.__name__: model._default_manager.count() for model in models}

    first = desks()
    assert first == desks()
    assert {*Invoice.objects.values_list("kind", flat=True)} == {"invoice", "credit_note"}
    assert {*Payout.objects.values_list("batch__state", flat=True)} == {"paid", "prepared"}
    assert {*Payment.objects.values_list("status", flat=True)} == {"arrived", "pending"}
    assert {*Proposal.objects.values_list("state", flat=True)} == {"approved", "waiting"}
    assert Refund.objects.get().state == Refund.State.WAITING
    assert all(pdf.render(invoice).startswith(b"%PDF") for invoice in Invoice.objects.all()[:2])


@pytest.mark.django_db
def test_publishers_say_what_they_demand_once() -> None:
    for _ in range(2):
        build(market(), starts_at=START)
        said = [model._default_manager.count() for model in (BlockRule, FloorRule, HouseAd, CompetingPair)]
        assert said == [5, 2, 4, 2]
