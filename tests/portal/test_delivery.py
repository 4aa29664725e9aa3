"""The delivery funnel on an advertiser's pages and in the API: its own numbers alone, by days, and what to do."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from django.urls import reverse

from adplatform.core import clock
from adplatform.events.models import DeliveryHour
from adplatform.insights import delivery
from adplatform.insights.queries import Range
from tests import factories as f
from tests.api.calls import Caller
from tests.portal.conftest import Tenant

pytestmark = pytest.mark.django_db
JUNE = Range(date(2026, 6, 1), date(2026, 6, 30))
FUNNEL = {"won": 380, "budget_spent": 379, "outbid": 131, "frequency_cap": 110}


def delivered(line_item: Any, outcomes: dict[str, int], *, hour: Any = f.NOON, **fields: Any) -> DeliveryHour:
    owners = {"campaign_id": line_item.campaign_id, "advertiser_id": line_item.campaign.organisation_id}
    return DeliveryHour.objects.create(
        line_item_id=line_item.pk, outcomes=outcomes, hour=hour, **owners | fields
    )


def sample(line_item: Any, other: Any, factors: list[float]) -> None:
    """Kept decisions in which the other line item's offer was that many times ours."""
    slot = f.slot()
    for factor in factors:
        choice = {
            "line_item": [line_item.pk, other.line_item_id],
            "by_click": [True, False],
            "worth": [500_000.0, 10_000_000 * factor],
            "pctr": [0.02, 0.01],
        }
        f.decision(other, slot, choice_set=choice)


def test_hours_and_sources_are_added_up_for_the_owner_alone(ours: Tenant, theirs: Tenant) -> None:
    delivered(ours.line_item, {"won": 1, "outbid": 2})
    delivered(ours.line_item, {"won": 4}, hour=f.NOON + timedelta(hours=1), source="demo")
    delivered(ours.line_item, {"won": 100}, hour=f.NOON + timedelta(days=30))
    delivered(theirs.line_item, {"won": 7})
    assert delivery.funnel(ours.organisation, JUNE).outcomes == {"won": 5, "outbid": 2}
    assert delivery.by_line_item(ours.organisation, JUNE).keys() == {ours.line_item.pk}
    assert delivery.funnel(ours.organisation, JUNE, line_item_id=theirs.line_item.pk).opportunities == 0
    assert delivery.funnel(None, JUNE).outcomes == {"won": 12, "outbid": 2}
    assert delivery.by_campaign(None, JUNE)[theirs.campaign.pk].win_rate == 1.0
    assert delivery.funnel(None, JUNE, source="demo").outcomes == {"won": 4}
    with pytest.raises(TypeError):
        delivery.funnel(None, JUNE, advertiser="x")


def test_the_bid_that_would_have_won_half_follows_from_the_sampled_auctions(ours: Tenant) -> None:
    other = f.creative()
    sample(ours.line_item, other, [1.0 + 0.1 * number for number in range(19)])
    assert delivery.raise_to_win(ours.line_item, JUNE) is None  # too few to tell
    sample(ours.line_item, other, [0.5, 9.0])  # one lost to exploring, one far away
    assert delivery.raise_to_win(ours.line_item, JUNE) == pytest.approx(1.9)
    told = delivery.advice(delivery.Funnel({"outbid": 3, "won": 1}), raise_by=1.9, line_item=ours.line_item)
    assert told is not None
    assert told.text == ("A bid of $0.95 instead of $0.50 would have won about half of the auctions it lost.")


def test_pages_show_the_funnel_by_days_and_say_what_to_do(ours: Tenant, theirs: Tenant) -> None:
    now = clock.now()
    delivered(ours.line_item, FUNNEL, hour=now)
    delivered(ours.line_item, {"paused": 10}, hour=now - timedelta(days=9))
    page = ours.client.get(
        reverse("portal:campaign", args=[ours.campaign.public_id]) + "?days=7"
    ).content.decode()
    for words in (
        "1,000 opportunities",
        "38.00%",
        "37.90%",
        "13.10%",
        "11.00%",
        "Budget spent · 37.9%",
        "100.00%",
    ):
        assert words in page
    assert "Raise the budget, or lower the bid so that it lasts longer." in page
    url = reverse("portal:line_item_delivery", args=[ours.line_item.public_id])
    assert "1,010 opportunities" in ours.client.get(url).content.decode()
    figure = ours.client.get(
        reverse("portal:line_item_delivery_chart", args=[ours.line_item.public_id]) + "?days=7"
    ).json()
    assert figure["data"][0]["x"] == [0.38]
    whole = ours.client.get(reverse("portal:campaign_delivery_chart", args=[ours.campaign.public_id]))
    assert whole.json()["data"][0]["customdata"] == [380]
    for name in ("line_item_delivery", "line_item_delivery_chart"):
        assert (
            ours.client.get(reverse(f"portal:{name}", args=[theirs.line_item.public_id])).status_code == 404
        )
    empty = theirs.client.get(reverse("portal:line_item_delivery", args=[theirs.line_item.public_id]))
    assert "No opportunity in these days" in empty.content.decode()


def test_the_api_tells_the_same_and_to_advertisers_alone(ours: Tenant, theirs: Tenant) -> None:
    delivered(ours.line_item, FUNNEL)
    delivered(theirs.line_item, {"won": 1})
    body = Caller(ours.organisation).get("reports/delivery?start=2026-06-01&end=2026-06-30").json()
    (row,) = body["rows"]
    assert (row["key"], row["opportunities"], row["won"]) == (str(ours.line_item.public_id), 1_000, 380)
    assert sum(part["share_bp"] for part in row["outcomes"]) == 10_000
    assert row["outcomes"][1] == {"outcome": "budget_spent", "opportunities": 379, "share_bp": 3_790}
    assert row["advice"].startswith("Raise the budget")
    assert body["total"]["outcomes"] == row["outcomes"]
    by_campaign = Caller(ours.organisation).get(
        "reports/delivery?by=campaign&start=2026-06-01&end=2026-06-30"
    )
    assert by_campaign.json()["rows"][0]["key"] == str(ours.campaign.public_id)
    assert Caller(f.publisher()).get("reports/delivery").status_code == 403


def test_a_year_of_hours_is_read_quickly(ours: Tenant) -> None:
    chance = Random(1)
    DeliveryHour.objects.bulk_create(
        DeliveryHour(
            hour=f.NOON - timedelta(hours=age),
            line_item_id=ours.line_item.pk,
            campaign_id=ours.campaign.pk,
            advertiser_id=ours.organisation.pk,
            outcomes={"won": chance.randrange(9), "outbid": 1},
        )
        for age in range(2_000)
    )
    assert (
        delivery.funnel(ours.organisation, Range(date(2026, 3, 1), date(2026, 6, 30))).outcomes["outbid"]
        == 2_000
    )
