"""What is billed never exceeds the day's budget, the flight's budget, or the prepaid money."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from django.db import connection, connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from adplatform.campaigns import budgets
from adplatform.campaigns.models import Budget, Purse
from adplatform.events.models import Click
from tests import factories
from tests.events.streams import PLENTY, again, append, drain, event, served
from tests.factories import MICROS, NOON


def campaign_of(**fields):
    return factories.campaign(**{"daily_budget_micros": None, "flight_budget_micros": None} | fields)


def ad_of(campaign, **fields):
    return served(factories.creative(factories.line_item(campaign)), **fields)


def reasons() -> dict[str, int]:
    found: dict[str, int] = {}
    for reason in Click.objects.values_list("reason", flat=True):
        found[reason] = found.get(reason, 0) + 1
    return found


@pytest.mark.django_db
def test_a_budget_of_ten_pays_for_exactly_a_thousand_clicks_of_a_cent(events) -> None:
    ad = ad_of(campaign_of(flight_budget_micros=10 * MICROS))
    append(events, *(event("click", again(ad)) for _ in range(1_200)))
    drain(events, limit=100)
    assert reasons() == {"": 1_000, "budget_spent": 200}
    assert Budget.objects.get(date=None).spent_micros == 10 * MICROS


@pytest.mark.django_db
def test_the_day_is_that_of_the_organisations_zone(events) -> None:
    owner = factories.organisation(time_zone="Asia/Tokyo")
    ad = ad_of(campaign_of(organisation=owner, daily_budget_micros=10_000))
    # 14:59 and 15:00 UTC are 23:59 and midnight in Tokyo: two days, one click each.
    before, after = NOON.replace(hour=14, minute=59), NOON.replace(hour=15)
    append(events, *(event("click", again(ad, served_at=at)) for at in (before, before, after, after)))
    drain(events)
    assert reasons() == {"": 2, "budget_spent": 2}
    days = Budget.objects.exclude(date=None).order_by("date")
    assert [str(row.date) for row in days] == ["2026-06-15", "2026-06-16"]


@pytest.mark.django_db
def test_prepaid_money_limits_all_campaigns_of_an_advertiser_together(events) -> None:
    owner = factories.organisation()
    ads = [ad_of(campaign_of(organisation=owner)) for _ in range(2)]
    append(events, *(event("click", again(ad)) for ad in ads * 5))
    drain(events, money=70_000)
    assert reasons() == {"": 7, "no_money": 3}
    assert Purse.objects.get().spent_micros == 70_000


@pytest.mark.django_db
def test_a_deposit_counts_as_soon_as_the_purse_runs_short(events) -> None:
    ad = ad_of(campaign_of())
    append(events, event("click", again(ad)))
    drain(events, money=10_000)
    append(events, event("click", again(ad)))
    drain(events, money=20_000)  # within the minute in which the books are not read for nothing
    assert reasons() == {"": 2}


@pytest.mark.django_db
def test_spend_is_recorded_where_no_budget_is_set_and_counts_when_one_is(events) -> None:
    campaign = campaign_of()
    ad = ad_of(campaign)
    append(events, *(event("click", again(ad)) for _ in range(3)))
    drain(events)
    campaign.daily_budget_micros = 40_000
    campaign.save()
    assert budgets.sync(at=NOON) == 1
    append(events, *(event("click", again(ad)) for _ in range(3)))
    drain(events)
    assert reasons() == {"": 4, "budget_spent": 2}


@pytest.mark.django_db
def test_an_edited_budget_does_not_rewrite_a_day_that_is_over(events) -> None:
    campaign = campaign_of(daily_budget_micros=50_000)
    ad = ad_of(campaign)
    append(events, event("click", ad))
    drain(events)
    campaign.daily_budget_micros = 10_000
    campaign.save()
    assert budgets.sync(at=NOON + timedelta(days=1)) == 0
    assert Budget.objects.exclude(date=None).get().amount_micros == 50_000


@pytest.mark.django_db(transaction=True)
def test_two_at_once_charge_exactly_the_budget(events) -> None:
    campaign = campaign_of(flight_budget_micros=500_000)
    ad = ad_of(campaign)
    shared = [again(ad) for _ in range(40)]  # delivered to both
    own = [[again(ad) for _ in range(30)] for _ in range(2)]
    errors: list[BaseException] = []

    def ingest(ads) -> None:
        from adplatform.events.store import store

        try:
            for first in range(0, len(ads), 7):
                batch = [event("click", one) for one in ads[first : first + 7]]
                store(batch, granted=lambda ids: dict.fromkeys(ids, PLENTY), at=NOON)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ingest, args=(shared + own[number],)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Click.objects.count() == 100
    assert reasons() == {"": 50, "budget_spent": 50}
    assert Budget.objects.get(date=None).spent_micros == 500_000


class AnySequence(TestCase):
    """`charge` against a model that adds and compares."""

    @settings(max_examples=40, deadline=None)
    @given(
        amounts=st.lists(st.integers(0, 9), max_size=25),
        day=st.none() | st.integers(1, 60),
        flight=st.none() | st.integers(1, 60),
        money=st.integers(0, 60),
        size=st.integers(1, 5),
    )
    def test_every_limit_holds(self, amounts, day, flight, money, size) -> None:
        campaign = campaign_of(daily_budget_micros=day, flight_budget_micros=flight)
        limit = min(money, *(value for value in (day, flight) if value is not None), money)
        spent, wanted = 0, []
        for amount in amounts:
            wanted.append(spent + amount <= limit)
            spent += amount if wanted[-1] else 0
        got = []
        for first in range(0, len(amounts), size):
            charges = [
                budgets.Charge(campaign.pk, campaign.organisation_id, NOON, amount)
                for amount in amounts[first : first + size]
            ]
            with transaction.atomic():
                got += budgets.charge(charges, granted=lambda ids: dict.fromkeys(ids, money), at=NOON)
        assert [verdict is None for verdict in got] == wanted
        assert all(row.spent_micros == spent for row in Budget.objects.filter(campaign=campaign))


def test_a_flight_tells_for_a_minute_what_was_charged_of_which_stretch(db: None) -> None:
    """So that leases know what of the served ads is off the budget already."""
    campaign = campaign_of(daily_budget_micros=100)

    def charge(micros: int, *, seconds_ago: float, at: datetime = NOON) -> budgets.Refusal | None:
        one = budgets.Charge(
            campaign.pk, campaign.organisation_id, at - timedelta(seconds=seconds_ago), micros
        )
        with transaction.atomic():
            return budgets.charge([one], granted=lambda ids: dict.fromkeys(ids, PLENTY), at=at)[0]

    def recent(at: datetime = NOON) -> list[int]:
        (left,) = [one for one in budgets.lefts(at=at) if one.campaign_id == campaign.pk]
        return list(left.recent_micros)

    noon = round(NOON.timestamp() * 1000)
    assert charge(30, seconds_ago=1) is None
    assert charge(20, seconds_ago=4) is None
    assert charge(10, seconds_ago=7) is None
    assert charge(90, seconds_ago=1) == budgets.Refusal.BUDGET_SPENT
    assert charge(5, seconds_ago=300) is None  # long over
    assert recent() == [noon - 10_000, 10, noon - 5_000, 50]
    later = NOON + timedelta(seconds=52)
    assert charge(1, seconds_ago=1, at=later) is None
    assert recent(later) == [noon - 5_000, 50, noon + 50_000, 1]
    assert recent(NOON + timedelta(minutes=5)) == []


def test_nothing_to_charge_asks_nothing() -> None:
    assert budgets.charge([], granted=lambda _: {}, at=NOON) == []
    assert connection.in_atomic_block is False
