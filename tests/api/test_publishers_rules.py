"""A publisher's key sets blocks, floors, house ads and competitors of its own sites, and of nobody else's."""

from __future__ import annotations

import pytest

from adplatform.accounts.models import AuditEntry
from adplatform.core import clock
from adplatform.core.models import Outbox
from adplatform.inventory.models import BlockRule
from tests import factories
from tests.api.calls import Caller, advertiser, publisher

pytestmark = pytest.mark.django_db
MICROS = 1_000_000


@pytest.fixture
def mine() -> Caller:
    return publisher()


def test_a_block_is_previewed_added_removed_and_put_back(mine: Caller) -> None:
    slot = factories.slot(factories.site(mine.organisation))
    shown = factories.creative(
        factories.line_item(factories.campaign(category="Poker")), attributes=["gambling"]
    )
    other = factories.creative()
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    factories.hourly_stat(shown, slot, hour=hour, impressions=25, spend_micros=MICROS)
    factories.hourly_stat(other, slot, hour=hour, impressions=75, spend_micros=3 * MICROS)
    body = {"kind": "category", "value": "  poker "}
    cost = mine.post("blocks/preview", body).json()
    assert (cost["impressions"], cost["impressions_share"], cost["earned_share"]) == (25, 0.25, 0.25)
    owner = shown.line_item.campaign.organisation
    assert cost["advertisers"] == [[owner.name, 25]]
    assert BlockRule.objects.count() == 0

    made = mine.post("blocks", body)
    assert (made.status_code, made.json()["value"], made.json()["site"]) == (201, "poker", None)
    assert made.json()["forecast"]["impressions"] == 25
    assert mine.post("blocks", body).json()["detail"] == "You block this already."
    path = f"blocks/{made.json()['public_id']}"
    assert mine.call("DELETE", f"/api/v1/{path}").status_code == 204
    assert mine.call("DELETE", f"/api/v1/{path}").status_code == 404
    assert mine.get("blocks").json()["count"] == 0
    assert mine.post(f"{path}/restore", {}).status_code == 200
    assert mine.get("blocks").json()["count"] == 1
    actions = AuditEntry.objects.exclude(action="api.called").order_by("pk").values_list("action", flat=True)
    assert [one for one in actions if one.startswith("block.")] == [
        "block.added",
        "block.removed",
        "block.restored",
    ]
    assert Outbox.objects.filter(topic="snapshot").count() == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "attribute", "value": "video"}, 201),
        ({"kind": "attribute", "value": "size:300x250"}, 201),
        ({"kind": "attribute", "value": "shiny"}, 409),
        ({"kind": "domain", "value": "https://www.Shop.example/path"}, 201),
        ({"kind": "domain", "value": "shop"}, 409),
        ({"kind": "category", "value": " "}, 409),
        ({"kind": "advertiser"}, 409),
        ({"kind": "nothing", "value": "x"}, 422),
        ({"kind": "attribute", "value": "video", "more": 1}, 422),
    ],
)
def test_a_block_that_names_nothing_is_refused_in_words(mine: Caller, body: dict, status: int) -> None:
    answer = mine.post("blocks", body)
    assert answer.status_code == status
    if status == 201 and body["kind"] == "domain":
        assert answer.json()["value"] == "shop.example"


def test_a_floor_is_set_by_country_and_device_and_changed_in_place(mine: Caller) -> None:
    slot = factories.slot(factories.site(mine.organisation))
    body = {"slot": slot.public_id, "country": "de", "device": "mobile", "floor_micros": 2 * MICROS}
    assert mine.call("PUT", "/api/v1/floors", body).status_code == 200
    again = mine.call("PUT", "/api/v1/floors", body | {"floor_micros": 3 * MICROS}).json()
    assert (again["country"], again["device"], again["floor_micros"]) == ("DE", "mobile", 3 * MICROS)
    assert mine.get("floors").json()["count"] == 1
    bare = {"slot": slot.public_id, "floor_micros": 1}
    assert mine.call("PUT", "/api/v1/floors", bare).status_code == 409
    assert mine.call("PUT", "/api/v1/floors", {"floor_micros": 1}).status_code == 409


def test_a_house_ad_is_made_changed_and_removed(mine: Caller) -> None:
    body = {"name": "Subscribe", "headline": "Read us daily", "landing_url": "https://news.example/"}
    made = mine.post("house-ads", body)
    assert made.status_code == 201
    path = f"house-ads/{made.json()['public_id']}"
    assert mine.patch(path, {"headline": "Read us", "is_active": False}).json()["headline"] == "Read us"
    assert mine.post("house-ads", body | {"landing_url": "http://news.example/"}).status_code == 422
    assert mine.call("DELETE", f"/api/v1/{path}").status_code == 204


def test_competitors_are_named_once(mine: Caller) -> None:
    one, other = factories.organisation(), factories.organisation()
    body = {"first": str(other.public_id), "second": str(one.public_id)}
    made = mine.post("competitors", body).json()
    assert made == {"id": made["id"], "first": str(one.public_id), "second": str(other.public_id)}
    assert mine.post("competitors", body).json()["id"] == made["id"]
    assert mine.post("competitors", body | {"first": body["second"]}).status_code == 409
    assert mine.call("DELETE", f"/api/v1/competitors/{made['id']}").status_code == 204
    assert mine.get("competitors").json()["count"] == 0


def test_sites_and_slots_carry_limits_variety_and_a_passback(mine: Caller) -> None:
    slot = factories.slot(factories.site(mine.organisation))
    site = mine.patch(f"sites/{slot.site.public_id}", {"ads_per_advertiser": 2, "variety": 0.5}).json()
    assert (site["ads_per_advertiser"], site["variety"], site["separates_categories"]) == (2, 0.5, True)
    assert mine.patch(f"sites/{slot.site.public_id}", {"variety": 1.5}).status_code == 422
    tag = '<script src="https://other.example/x.js"></script>'
    changed = mine.patch(f"slots/{slot.public_id}", {"passback": tag, "fallback": "passback_first"}).json()
    assert (changed["passback"], changed["fallback"]) == (tag, "passback_first")
    for wrong in (
        "http://other.example/",
        '<img src="//other.example/x.gif">',
        '<a href="javascript:x">',
        "<base href='https://x.example/'>",
        "see other.example",
    ):
        assert mine.patch(f"slots/{slot.public_id}", {"passback": wrong}).status_code == 422


def test_another_publishers_rules_do_not_exist(mine: Caller) -> None:
    theirs = publisher()
    slot = factories.slot(factories.site(theirs.organisation))
    block = theirs.post("blocks", {"kind": "attribute", "value": "video"}).json()["public_id"]
    assert mine.call("DELETE", f"/api/v1/blocks/{block}").status_code == 404
    assert mine.post(f"blocks/{block}/restore", {}).status_code == 404
    assert mine.get("blocks").json()["count"] == 0
    scoped = {"kind": "attribute", "value": "video", "slot": slot.public_id}
    assert mine.post("blocks", scoped).status_code == 404
    assert mine.patch(f"sites/{slot.site.public_id}", {"variety": 1}).status_code == 404
    assert BlockRule.objects.filter(removed_at__isnull=True).count() == 1


def test_an_advertisers_key_has_no_publishers_rules() -> None:
    assert advertiser().get("blocks").json()["code"] == "wrong_kind"
