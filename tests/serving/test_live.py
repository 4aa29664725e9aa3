"""What may serve: running, approved, funded, within its flight."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adplatform.accounts.models import ApiKey
from adplatform.campaigns.budgets import day_of
from adplatform.campaigns.models import Purse
from adplatform.core import clock
from adplatform.serving import live
from tests import factories
from tests.serving import market as m

pytestmark = pytest.mark.django_db
NOW = clock.now()


def rows():
    return live.candidates(NOW)


def test_an_ad_that_may_serve_is_taken_with_what_it_needs() -> None:
    creative = m.ad(
        campaign={"daily_budget_micros": 7_000_000, "bid_strategy": "manual_cpm"},
        line_item={"bid_micros": 2_000_000, "cap_impressions": 3, "targeting": {"country": ["DE"]}},
    )
    (row,) = rows()
    assert (row.creative_id, row.bid_strategy, row.bid_micros) == (creative.pk, "manual_cpm", 2_000_000)
    assert (row.remaining_micros, row.pace) == (7_000_000, 1.0)
    assert [(cap.scope, cap.limit, cap.window_seconds) for cap in row.caps] == [("line_item", 3, 86_400)]


@pytest.mark.parametrize(
    "fields",
    [
        {"campaign": {"status": "paused"}},
        {"campaign": {"status": "draft"}},
        {"campaign": {"start_at": NOW + timedelta(hours=1, minutes=1)}},
        {"campaign": {"end_at": NOW}},
        {"campaign": {"source": "upworthy"}},
        {"campaign": {"currency": "JPY"}},
        {"line_item": {"status": "paused"}},
        {"line_item": {"targeting": {"shoe_size": [42]}}},
        {"status": "archived"},
        {"review": "pending"},
        {"review": "rejected"},
    ],
)
def test_what_may_not_serve_is_left_out(fields) -> None:
    m.ad(**fields)
    assert rows() == []


def test_a_flight_that_starts_within_the_hour_is_taken_along() -> None:
    m.ad(campaign={"start_at": NOW + timedelta(minutes=59)})
    assert len(rows()) == 1


def test_an_advertiser_without_money_or_put_to_rest_does_not_serve() -> None:
    m.ad(m.advertiser(money_micros=0))
    m.ad(m.advertiser(is_active=False))
    assert rows() == []


def test_what_is_left_is_the_least_of_day_flight_and_purse() -> None:
    owner = m.advertiser(money_micros=50 * m.MICROS)
    creative = m.ad(
        owner, campaign={"daily_budget_micros": 40 * m.MICROS, "flight_budget_micros": 90 * m.MICROS}
    )
    campaign = creative.line_item.campaign
    assert rows()[0].remaining_micros == 40 * m.MICROS
    factories.budget(
        campaign, date=day_of(NOW, "UTC"), amount_micros=40 * m.MICROS, spent_micros=5 * m.MICROS
    )
    factories.budget(campaign, amount_micros=90 * m.MICROS, spent_micros=60 * m.MICROS)
    assert rows()[0].remaining_micros == 30 * m.MICROS
    owner.purse = Purse.objects.create(organisation=owner, spent_micros=25 * m.MICROS)
    assert rows()[0].remaining_micros == 25 * m.MICROS
    Purse.objects.update(spent_micros=50 * m.MICROS)
    assert rows() == []


def test_even_pacing_follows_the_pace_and_asap_does_not() -> None:
    even = m.ad(campaign={"name": "even"})
    asap = m.ad(line_item={"pacing": "asap"})
    for creative in (even, asap):
        factories.pace(creative.line_item.campaign, multiplier=0.25)
    assert {row.creative_id: row.pace for row in rows()} == {even.pk: 0.25, asap.pk: 1.0}


def test_conversion_rates_lean_on_the_campaign_its_advertiser_and_then_on_everybody() -> None:
    creative = m.ad()
    line_item = creative.line_item
    # Nobody knows anything: 1 conversion in 100 clicks.
    assert rows()[0].pcvr == pytest.approx(0.01)
    factories.hourly_stat(
        creative,
        hour=NOW - timedelta(days=1),
        impressions=9_000,
        clicks=100,
        conversions=10,
    )
    everybody = (10 + 1) / (100 + 100)
    advertiser = (10 + 50 * everybody) / 150
    campaign = (10 + 50 * advertiser) / 150
    (row,) = rows()
    assert row.pcvr == pytest.approx((10 + 50 * campaign) / 150)
    assert (row.impressions, row.clicks) == (9_000, 100)
    # Its line item is new, and another of the campaign known: it has the campaign's rate.
    sibling = factories.creative(factories.line_item(line_item.campaign), headline="New")
    new = next(row for row in rows() if row.creative_id == sibling.pk)
    assert new.pcvr == pytest.approx(campaign)


def test_a_conversion_is_worth_what_its_line_items_were_leaning_on_the_advertisers() -> None:
    creative = m.ad()
    line_item = creative.line_item
    sibling = factories.creative(factories.line_item(line_item.campaign), headline="New")
    action = factories.conversion_action(line_item.campaign.organisation, default_value_micros=12)
    for value in (10_000_000, 20_000_000, 30_000_000):
        factories.credit(
            factories.conversion(action, occurred_at=NOW - timedelta(days=2), value_micros=value),
            advertiser_id=action.organisation_id,
            campaign_id=line_item.campaign_id,
            line_item_id=line_item.pk,
        )
    assert {row.creative_id: row.value_micros for row in rows()} == {
        creative.pk: 20_000_000,
        sibling.pk: 20_000_000,  # nothing of its own: the campaign's
    }


def test_young_clicks_count_by_the_share_of_conversions_that_come_so_early() -> None:
    creative = m.ad()
    long_ago, clicks = NOW - timedelta(days=20), 200
    for number in range(40):  # a conversion comes after two days in the mean
        place = factories.decision(creative, served_at=long_ago)
        click = factories.click(place, occurred_at=long_ago)
        came = factories.conversion(occurred_at=long_ago + timedelta(days=0.1 + 0.1 * number))
        factories.credit(came, click)
    factories.hourly_stat(creative, hour=long_ago, impressions=9_000, clicks=clicks, conversions=40)
    before = rows()[0].pcvr
    factories.hourly_stat(creative, hour=NOW - timedelta(hours=2), impressions=9_000, clicks=clicks)
    after = rows()[0].pcvr
    as_if_barren = before * (clicks + 50) / (2 * clicks + 50)
    assert before * 0.9 < after < before
    assert as_if_barren < before * 0.6


def test_before_the_first_conversion_the_actions_value_counts() -> None:
    creative = m.ad()
    factories.conversion_action(creative.line_item.campaign.organisation, default_value_micros=12)
    assert rows()[0].value_micros == 12


def test_keys_that_are_over_are_left_out() -> None:
    good = factories.api_key(expires_at=NOW + timedelta(days=1))
    factories.api_key(expires_at=NOW)
    factories.api_key(revoked_at=NOW)
    assert [key.prefix for key in live.keys(NOW)] == [good.prefix]
    assert ApiKey.objects.count() == 3


def test_slots_of_what_is_switched_off_are_left_out() -> None:
    slot = m.slot()
    m.slot(is_active=False)
    m.slot(site_=factories.site(is_active=False))
    assert [row.public_id for row in live.slots(live.rights([]))] == [slot.public_id]
