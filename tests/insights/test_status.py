"""A campaign's status names the cause that a person has to remove first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_django import DjangoAssertNumQueries

from adplatform.billing import ledger
from adplatform.campaigns.budgets import UNLIMITED
from adplatform.campaigns.models import Campaign, Creative, Purse, Status
from adplatform.insights.status import Tone, campaign_status, campaign_statuses
from tests import factories
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db


def running(**fields: object) -> Campaign:
    campaign = factories.campaign(**fields)
    factories.creative(factories.line_item(campaign))
    pay(campaign, 5 * MICROS)
    return campaign


def pay(campaign: Campaign, micros: int) -> None:
    owner = campaign.organisation
    ledger.post(
        key=f"pay:{factories.number()}",
        kind="deposit",
        entries={ledger.prepaid(owner): micros, ledger.cash(owner.currency): -micros},
        effective_at=NOON,
    )


def said(campaign: Campaign) -> tuple[str, Tone]:
    status = campaign_status(campaign, NOON)
    return status.words, status.tone


def test_a_campaign_with_an_approved_creative_serves() -> None:
    assert said(running()) == ("Serving", Tone.OK)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": Status.ARCHIVED}, "Archived"),
        ({"status": Status.DRAFT}, "Draft"),
        ({"status": Status.PAUSED}, "Paused"),
        ({"start_at": NOON + timedelta(days=1)}, "Not started"),
        ({"end_at": NOON}, "Ended"),
        ({"end_at": NOON, "status": Status.PAUSED}, "Ended"),
        ({"source": "upworthy"}, "Imported"),
    ],
)
def test_what_is_not_running_says_so(fields: dict[str, object], words: str) -> None:
    assert said(running(**fields))[0] == words


def test_without_an_active_line_item_it_does_not_serve() -> None:
    campaign = factories.campaign()
    factories.creative(factories.line_item(campaign, status=Status.PAUSED))
    assert said(campaign) == ("Not serving", Tone.BAD)


@pytest.mark.parametrize(
    ("review", "words"),
    [(Creative.Review.PENDING, "In review"), (Creative.Review.REJECTED, "No approved creative")],
)
def test_creatives_that_are_not_approved_hold_it_back(review: str, words: str) -> None:
    campaign = factories.campaign()
    factories.creative(factories.line_item(campaign), review=review)
    assert said(campaign)[0] == words


def test_one_approved_creative_is_enough() -> None:
    campaign = running()
    factories.creative(campaign.line_items.get(), review=Creative.Review.REJECTED)
    assert said(campaign)[0] == "Serving"


def test_a_spent_day_is_limited_by_budget_until_tomorrow() -> None:
    campaign = running()
    factories.budget(campaign, date=NOON.date(), amount_micros=10 * MICROS, spent_micros=10 * MICROS)
    status = campaign_status(campaign, NOON)
    assert (status.words, status.tone, status.pacing) == ("Limited by budget", Tone.WARN, 200)
    assert "$10.00" in status.why
    assert campaign_status(campaign, NOON + timedelta(days=1)).words == "Serving"


def test_a_spent_flight_is_over() -> None:
    campaign = running(flight_budget_micros=5 * MICROS)
    factories.budget(campaign, amount_micros=5 * MICROS, spent_micros=5 * MICROS)
    assert said(campaign) == ("Budget spent", Tone.WARN)


def test_pacing_compares_with_an_even_day_in_the_advertisers_zone() -> None:
    campaign = running(
        organisation=factories.organisation(time_zone="Asia/Tokyo")
    )  # 12:00 UTC is 21:00 there
    factories.budget(campaign, date=NOON.date(), amount_micros=24 * MICROS, spent_micros=7 * MICROS)
    assert campaign_status(campaign, NOON).pacing == 33


def test_pacing_of_a_flight_without_daily_budget() -> None:
    campaign = running(daily_budget_micros=None, flight_budget_micros=30 * MICROS)
    factories.budget(campaign, amount_micros=30 * MICROS, spent_micros=12 * MICROS)
    assert campaign_status(campaign, NOON).pacing == 80


def test_an_empty_prepaid_account_stops_it() -> None:
    campaign = running()
    pay(campaign, -5 * MICROS)
    assert said(campaign) == ("No money", Tone.BAD)


def test_charges_that_are_not_settled_yet_count_as_spent() -> None:
    campaign = running()
    Purse.objects.create(organisation=campaign.organisation, spent_micros=5 * MICROS)
    assert said(campaign) == ("No money", Tone.BAD)


def test_an_advertiser_who_never_paid_has_no_money() -> None:
    campaign = running()
    factories.creative(factories.line_item(other := factories.campaign()))
    assert (said(campaign)[0], said(other)[0]) == ("Serving", "No money")


def test_a_row_without_a_limit_is_no_budget() -> None:
    campaign = running(daily_budget_micros=None)
    factories.budget(campaign, date=NOON.date(), amount_micros=UNLIMITED, spent_micros=5 * MICROS)
    status = campaign_status(campaign, NOON)
    assert (status.words, status.pacing) == ("Serving", None)


def test_many_campaigns_take_as_many_queries_as_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    campaigns = [running() for _ in range(3)]
    with django_assert_num_queries(5):
        statuses = campaign_statuses(campaigns, NOON)
    assert {status.words for status in statuses.values()} == {"Serving"}
