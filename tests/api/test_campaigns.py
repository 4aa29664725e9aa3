"""Campaigns through the API follow the rules of the portal; the other tenant's do not exist."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adplatform.accounts.models import AuditEntry
from adplatform.campaigns.models import Campaign, Creative, LineItem
from adplatform.core.models import Outbox
from tests import factories
from tests.api.calls import Caller, advertiser

pytestmark = pytest.mark.django_db
START = "2026-06-01T00:00:00+02:00"
CREATIVE = {"name": "A", "headline": "Grip that keeps up", "landing_url": "https://shop.example/gtx"}


@pytest.fixture
def caller() -> Caller:
    return advertiser(currency="EUR")


def made(caller: Caller) -> Creative:
    campaign = factories.campaign(caller.organisation)
    return factories.creative(factories.line_item(campaign))


def test_a_campaign_from_draft_to_launch(caller: Caller) -> None:
    body = {
        "name": "Summer",
        "start_at": START,
        "daily_budget_micros": 50_000_000,
        "bid_strategy": "manual_cpc",
    }
    answer = caller.post("campaigns", body)
    assert (answer.status_code, answer.json()["status"], answer.json()["currency"]) == (201, "draft", "EUR")
    place = f"campaigns/{answer.json()['public_id']}"
    launched = caller.post(f"{place}/status", {"status": "active"})
    assert (launched.status_code, launched.json()["code"]) == (409, "refused")
    assert "creative" in launched.json()["detail"]
    line_item = caller.post(
        f"{place}/line-items",
        {"name": "All", "bid_micros": 400_000, "targeting": {"country": {"include": ["de"]}}},
    )
    assert line_item.json()["targeting"] == {"country": {"include": ["DE"]}}
    creative = caller.post(f"line-items/{line_item.json()['public_id']}/creatives", CREATIVE)
    assert (creative.status_code, creative.json()["review"]) == (201, "pending")
    assert caller.post(f"{place}/status", {"status": "active"}).json()["status"] == "active"
    campaign = Campaign.objects.get()
    assert campaign.start_at.isoformat() == "2026-05-31T22:00:00+00:00"
    assert campaign.budgets.count() == 2


def test_each_change_is_audited_with_its_key_and_reaches_the_servers(caller: Caller) -> None:
    campaign = factories.campaign(caller.organisation)
    Outbox.objects.all().delete()
    AuditEntry.objects.all().delete()
    caller.patch(f"campaigns/{campaign.public_id}", {"name": "Renamed", "daily_budget_micros": None})
    campaign.refresh_from_db()
    assert (campaign.name, campaign.daily_budget_micros) == ("Renamed", None)
    assert Outbox.objects.get().topic == "snapshot"
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "campaign.changed",
        "api.called",
    ]
    assert AuditEntry.objects.get(action="api.called").detail["key"] == caller.key.prefix


def test_a_refused_change_leaves_nothing(caller: Caller) -> None:
    campaign = factories.campaign(caller.organisation, source="upworthy")
    AuditEntry.objects.all().delete()
    answer = caller.patch(f"campaigns/{campaign.public_id}", {"name": "Renamed"})
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")
    assert not AuditEntry.objects.exists()
    campaign.refresh_from_db()
    assert campaign.name != "Renamed"


def test_a_changed_creative_waits_for_review_again(caller: Caller) -> None:
    creative = made(caller)
    answer = caller.patch(f"creatives/{creative.public_id}", {"headline": "New words"})
    assert (answer.json()["headline"], answer.json()["review"]) == ("New words", "pending")
    assert (
        caller.post(f"creatives/{creative.public_id}/status", {"status": "paused"}).json()["status"]
        == "paused"
    )


def test_a_line_item_is_changed_and_its_cap_taken_away(caller: Caller) -> None:
    line_item = made(caller).line_item
    place = f"line-items/{line_item.public_id}"
    assert caller.patch(place, {"cap_impressions": 3, "bid_micros": 7}).json()["cap_impressions"] == 3
    answer = caller.patch(place, {"cap_impressions": None}).json()
    assert (answer["cap_impressions"], answer["bid_micros"]) == (None, 7)
    assert caller.post(f"{place}/status", {"status": "paused"}).json()["status"] == "paused"


def test_lists_are_paged_and_filtered(caller: Caller) -> None:
    for name in ("One", "Two", "Three"):
        factories.campaign(caller.organisation, name=name, status="paused" if name == "Two" else "active")
    page = caller.get("campaigns?limit=2&offset=1").json()
    assert ([item["name"] for item in page["items"]], page["count"]) == (["Two", "Three"], 3)
    assert [item["name"] for item in caller.get("campaigns?status=paused").json()["items"]] == ["Two"]
    assert [item["name"] for item in caller.get("campaigns?search=thr").json()["items"]] == ["Three"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "A\x00"}, "name"),
        ({"start_at": "2026-06-01T00:00:00"}, "start_at"),
        ({"daily_budget_micros": 0}, "daily_budget_micros"),
        ({"daily_budget_micros": 1.5}, "daily_budget_micros"),
        ({"daily_budget_micros": "5"}, "daily_budget_micros"),
        ({"flight_budget_micros": 10**16}, "flight_budget_micros"),
        ({"bid_strategy": "guess"}, "bid_strategy"),
        ({"organisation": 1}, "organisation"),
        ({"status": "active"}, "status"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(caller: Caller, change: dict[str, Any], field: str) -> None:
    answer = caller.post("campaigns", {"name": "Summer", "start_at": START} | change)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert field in answer.json()["errors"]
    assert not Campaign.objects.exists()


@pytest.mark.parametrize("body", [{"end_at": "2026-05-01T00:00:00Z"}, {"bid_strategy": "target_roas"}])
def test_fields_that_contradict_each_other_are_refused(caller: Caller, body: dict[str, str]) -> None:
    assert caller.post("campaigns", {"name": "Summer", "start_at": START} | body).status_code == 422


def test_a_flight_cannot_be_turned_around_by_a_change(caller: Caller) -> None:
    campaign = factories.campaign(caller.organisation)
    answer = caller.patch(f"campaigns/{campaign.public_id}", {"end_at": "2020-01-01T00:00:00Z"})
    assert answer.json()["errors"] == {"end_at": "It must lie after start_at."}


@pytest.mark.parametrize(
    "targeting",
    [
        {"shoe_size": {"include": [43]}},
        {"country": {"include": ["Germany"]}},
        {"daypart": {"mon": [25]}},
        {"country": "DE"},
    ],
)
def test_targeting_that_cannot_be_read_is_refused(caller: Caller, targeting: dict[str, Any]) -> None:
    campaign = factories.campaign(caller.organisation)
    answer = caller.post(
        f"campaigns/{campaign.public_id}/line-items", {"name": "A", "bid_micros": 1, "targeting": targeting}
    )
    assert (answer.status_code, "targeting" in answer.json()["errors"]) == (422, True)
    assert not LineItem.objects.exists()


def test_an_audience_of_another_advertiser_cannot_be_targeted(caller: Caller) -> None:
    campaign = factories.campaign(caller.organisation)
    own, other = factories.segment(caller.organisation), factories.segment()
    path, body = f"campaigns/{campaign.public_id}/line-items", {"name": "A", "bid_micros": 1}
    assert [one["id"] for one in caller.get("audiences").json()["items"]] == [own.pk]
    assert caller.post(path, body | {"targeting": {"segment": {"include": [own.pk]}}}).status_code == 201
    answer = caller.post(path, body | {"targeting": {"segment": {"exclude": [other.pk]}}})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["targeting.segment"])


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://shop.example", "shop.example", "data:text/html,x", "https://"]
)
def test_a_landing_page_is_a_page(caller: Caller, url: str) -> None:
    line_item = made(caller).line_item
    answer = caller.post(f"line-items/{line_item.public_id}/creatives", CREATIVE | {"landing_url": url})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["landing_url"])


def test_what_is_not_json_is_said(caller: Caller) -> None:
    answer = caller._client.generic(
        "POST",
        "/api/v1/campaigns",
        b"{",
        content_type="application/json",
        headers={"Authorization": f"Bearer {caller.secret}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


def test_the_other_tenants_things_do_not_exist(caller: Caller) -> None:
    creative = made(advertiser())
    line_item = creative.line_item
    campaign = line_item.campaign
    before = json.dumps([str(row) for row in (creative, line_item, campaign)])
    paths = [
        f"campaigns/{campaign.public_id}",
        f"line-items/{line_item.public_id}",
        f"creatives/{creative.public_id}",
    ]
    for path in paths:
        assert caller.get(path).status_code == 404, path
        assert caller.patch(path, {"name": "Mine"}).status_code == 404, path
        assert caller.post(f"{path}/status", {"status": "archived"}).status_code == 404, path
    assert caller.get(f"{paths[0]}/line-items").status_code == 404
    assert caller.post(f"{paths[0]}/line-items", {"name": "A", "bid_micros": 1}).status_code == 404
    assert caller.get(f"{paths[1]}/creatives").status_code == 404
    assert caller.post(f"{paths[1]}/creatives", CREATIVE).status_code == 404
    assert caller.get("campaigns").json()["count"] == 0
    for row in (creative, line_item, campaign):
        row.refresh_from_db()
        assert row.status == "active"
    assert json.dumps([str(row) for row in (creative, line_item, campaign)]) == before


@pytest.mark.parametrize(
    "asked", ["campaigns?search=%00", "campaigns?status=%00", "campaigns?limit=0", "campaigns?offset=-1"]
)
def test_a_list_that_cannot_be_asked_for_is_refused(caller: Caller, asked: str) -> None:
    assert caller.get(asked).status_code == 422


def test_how_often_one_visitor_sees_it_is_said_at_four_levels(caller: Caller) -> None:
    creative = made(caller)
    for path in (
        f"campaigns/{creative.line_item.campaign.public_id}",
        f"line-items/{creative.line_item.public_id}",
        f"creatives/{creative.public_id}",
        "frequency-cap",
    ):
        assert caller.get(path).json()["cap_impressions"] is None
        given = {"cap_impressions": 2, "cap_window_seconds": 3_600}
        answer = caller.patch(path, given)
        assert answer.status_code == 200, answer.content
        assert answer.json() == caller.get(path).json() == answer.json() | given
        assert caller.patch(path, {"cap_window_seconds": 7}).status_code == 422
        assert caller.patch(path, {"cap_impressions": None}).json()["cap_impressions"] is None
    creative.refresh_from_db()
    assert creative.review == Creative.Review.APPROVED  # nothing that a reviewer looked at
