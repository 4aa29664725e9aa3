"""Settling: by the hour, to the sum of events, once, however often and by however many it is run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from adplatform.accounts.models import Organisation
from adplatform.billing import ledger, queries, services
from adplatform.billing.models import Posting, Settlement
from adplatform.billing.reconciliation import reconcile
from adplatform.billing.verification import verify
from adplatform.campaigns.models import Creative
from adplatform.events.models import HourlyStat
from adplatform.inventory.models import AdSlot
from tests import factories
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
AFTER = NOON + timedelta(hours=1)


class Market:
    """One advertiser with money, one publisher with a share, and events as ingest writes them."""

    def __init__(self, *, deposit: int = 100 * MICROS, share_bp: int = 7_000, currency: str = "USD") -> None:
        self.advertiser: Organisation = factories.organisation(currency=currency)
        self.publisher: Organisation = factories.publisher(currency=currency, revenue_share_bp=share_bp)
        self.creative: Creative = self.new_creative()
        self.slot: AdSlot = factories.slot(factories.site(self.publisher, currency=currency))
        if deposit:
            services.deposit(self.advertiser, deposit, key=f"bank:{self.advertiser.pk}", at=NOON)

    def new_creative(self) -> Creative:
        campaign = factories.campaign(self.advertiser, currency=self.advertiser.currency)
        return factories.creative(factories.line_item(campaign))

    def charge(
        self,
        micros: int,
        *,
        at: datetime = NOON,
        creative: Creative | None = None,
        make: Callable[..., object] = factories.click,
        source: str = "live",
    ) -> None:
        creative = creative or self.creative
        decision = factories.decision(creative, self.slot, served_at=at, source=source)
        make(decision, charge_micros=micros)
        hour = at.replace(minute=0, second=0, microsecond=0)
        stat = HourlyStat.objects.filter(
            hour=hour, creative_id=creative.pk, slot_id=self.slot.pk, source=source
        ).first()
        stat = stat or factories.hourly_stat(
            creative, self.slot, hour=hour, source=source, currency=self.advertiser.currency
        )
        stat.spend_micros += micros
        stat.save()

    def balances(self) -> tuple[int, int, int]:
        """(advertiser's money, publisher's earnings, platform's revenue)."""
        return (
            queries.prepaid_balance(self.advertiser),
            queries.earned_balance(self.publisher),
            queries.balance(ledger.revenue(self.advertiser.currency)),
        )


def test_an_hour_moves_what_its_events_cost() -> None:
    market = Market()
    market.charge(30 * MICROS)
    market.charge(3, make=factories.impression, at=NOON + timedelta(minutes=59, seconds=59))

    done = services.settle(at=AFTER)

    assert (done.postings, done.hours, done.micros) == (1, 1, {"USD": 30_000_003})
    # 70 % of 30,000,003 is 21,000,002.1: the fraction of a micro is the platform's.
    assert market.balances() == (69_999_997, 21_000_002, 9_000_001)
    assert done.words == "$30.00 settled in 1 postings over 1 hours."
    assert Posting.objects.get(kind="settle").effective_at == NOON


def test_the_running_hour_waits() -> None:
    market = Market()
    market.charge(MICROS, at=NOON)

    done = services.settle(at=NOON + timedelta(minutes=59))

    assert (done.postings, done.words) == (0, "Nothing to settle.")
    assert queries.unsettled_spend(market.advertiser) == MICROS
    assert queries.available(market.advertiser) == 99 * MICROS


def test_again_changes_nothing() -> None:
    market = Market()
    market.charge(MICROS)
    services.settle(at=AFTER)
    before = market.balances()

    again = services.settle(at=AFTER)

    assert again.postings == 0
    assert market.balances() == before


def test_a_late_event_is_settled_by_the_next_run() -> None:
    market = Market(share_bp=10_000)
    market.charge(5)
    services.settle(at=AFTER)
    market.charge(2)  # of the same hour, arriving afterwards

    services.settle(at=AFTER + timedelta(hours=2))

    assert market.balances() == (100 * MICROS - 7, 7, 0)
    row = Settlement.objects.get()
    assert (row.settled_micros, row.postings) == (7, 2)
    assert [
        key.rsplit(":", 1)[1] for key in Posting.objects.filter(kind="settle").values_list("key", flat=True)
    ] == ["1", "2"]


def test_an_event_later_than_the_look_back_waits_for_the_daily_run() -> None:
    market = Market()
    market.charge(5, at=NOON - timedelta(days=10))

    assert services.settle(at=AFTER).postings == 0
    assert services.settle(at=AFTER, everything=True).postings == 1


def test_a_dry_run_says_it_and_changes_nothing() -> None:
    market = Market()
    market.charge(5 * MICROS)

    done = services.settle(at=AFTER, dry_run=True)

    assert (done.postings, done.micros) == (1, {"USD": 5 * MICROS})
    assert not Posting.objects.filter(kind="settle").exists()
    assert not Settlement.objects.exists()


def test_imports_tests_and_unbillable_events_cost_nothing() -> None:
    market = Market()
    for source in ("import", "test"):
        market.charge(0, source=source)
        factories.hourly_stat(market.new_creative(), market.slot, source=source, spend_micros=7)
    decision = factories.decision(market.creative, market.slot)
    factories.click(decision, is_billable=False, reason="bot")

    assert services.settle(at=AFTER).postings == 0
    assert reconcile().violations == []


def test_demo_events_are_settled_like_live_ones() -> None:
    market = Market()
    market.charge(7, source="demo")
    market.charge(3, source="live")

    assert services.settle(at=AFTER).micros == {"USD": 10}


def test_what_prepaid_money_does_not_cover_waits_and_is_named() -> None:
    market = Market(deposit=10)
    second = market.new_creative()
    market.charge(8)
    market.charge(8, creative=second)

    done = services.settle(at=AFTER)

    assert (done.postings, done.short) == (1, 1)
    assert done.words.endswith("1 more wait: prepaid money is short.")
    assert market.balances()[0] == 2
    services.deposit(market.advertiser, 6, key="top-up", at=AFTER)
    assert services.settle(at=AFTER).postings == 1
    assert market.balances()[0] == 0


def test_what_may_be_spent_does_not_move_with_settling() -> None:
    market = Market(deposit=10)
    market.charge(8)
    before = queries.granted([market.advertiser.pk])

    services.settle(at=AFTER)

    assert queries.granted([market.advertiser.pk]) == before == {market.advertiser.pk: 10}


@settings(max_examples=20, deadline=None)
@given(
    charges=st.lists(
        st.tuples(st.integers(1, 10**7), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12
    ),
    runs=st.lists(st.integers(0, 12), max_size=4),
    share_bp=st.integers(0, 10_000),
    currency=st.sampled_from(["JPY", "USD", "KWD"]),
)
def test_any_order_of_events_and_runs_ends_in_the_same_books(
    charges: list[tuple[int, int, int]], runs: list[int], share_bp: int, currency: str
) -> None:
    """Micros, hours and campaigns of events, with runs in between: in the end every micro is in its place."""
    market = Market(deposit=10**9, share_bp=share_bp, currency=currency)
    revenue_before = market.balances()[2]
    creatives = [market.new_creative() for _ in range(3)]
    end = AFTER + timedelta(hours=4)
    for number, (micros, hour, which) in enumerate(charges):
        if number in runs:
            services.settle(at=end)
        market.charge(micros, at=NOON + timedelta(hours=hour), creative=creatives[which])
    services.settle(at=end)

    total = sum(micros for micros, _, _ in charges)
    held, theirs, ours = market.balances()
    assert held == 10**9 - total
    assert theirs + ours - revenue_before == total
    assert 0 <= total * share_bp / 10_000 - theirs < len(charges) + 1  # rounding: under a micro per posting
    assert reconcile().violations == []


@pytest.mark.django_db(transaction=True)
def test_five_runs_at_once_settle_once() -> None:
    market = Market()
    for hour in range(6):
        for creative in [market.new_creative() for _ in range(4)]:
            market.charge(1_000 + hour, at=NOON + timedelta(hours=hour), creative=creative)
    end, barrier, postings = NOON + timedelta(hours=6), threading.Barrier(5), []

    def run() -> None:
        try:
            barrier.wait()
            postings.append(services.settle(at=end).postings)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(postings) == 24 == Posting.objects.filter(kind="settle").count()
    assert market.balances()[0] == 100 * MICROS - 4 * (6 * 1_000 + 15)
    assert verify().violations == []
    assert reconcile().violations == []


@given(
    charges=st.lists(
        st.tuples(st.integers(1, 3 * 10**9), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=8
    ),
    currency=st.sampled_from(["JPY", "EUR", "KWD"]),
    share_bp=st.integers(0, 10_000),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=12, deadline=None)
def test_shares_add_up_to_the_micro_in_every_currency_and_order(
    charges: list[tuple[int, int, int]], currency: str, share_bp: int, order: Random
) -> None:
    market = Market(deposit=10**11, share_bp=share_bp, currency=currency)
    before = market.balances()
    creatives = [market.creative, market.new_creative(), market.new_creative()]
    order.shuffle(charges)
    for micros, hours, which in charges:
        market.charge(micros, at=NOON + timedelta(hours=hours), creative=creatives[which])
        if order.random() < 0.4:  # a run in between, as late events meet it
            services.settle(at=NOON + timedelta(hours=4))
    services.settle(at=NOON + timedelta(hours=4))

    paid, earned, ours = (now - then for now, then in zip(market.balances(), before, strict=True))
    total = sum(micros for micros, _, _ in charges)
    assert (paid, earned + ours) == (-total, total)
    # Each posting leaves less than a micro of the publisher's share with the platform.
    exact = total * share_bp // 10_000
    assert exact - len(charges) <= earned <= exact
