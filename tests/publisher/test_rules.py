"""A publisher sees what a block would cost, saves and removes it, sets floors and its own ads; others' stay hidden."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from adplatform.accounts.models import AuditEntry, Membership
from adplatform.core import clock
from adplatform.inventory.models import AdSlot, BlockRule, CompetingPair, FloorRule, HouseAd
from tests import factories

pytestmark = pytest.mark.django_db
MICROS = 1_000_000
RULES, BLOCK, HOUSE = "/publisher/rules/", "/publisher/rules/blocks/new/", "/publisher/house-ads/"


def block(owner: Membership, **fields: Any) -> BlockRule:
    given = {"publisher": owner.organisation, "kind": "attribute", "value": "video"} | fields
    return BlockRule.objects.create(**given)


def test_every_page_opens_empty_and_full(client: Client, owner: Membership, slot: AdSlot) -> None:
    for page in (RULES, BLOCK, HOUSE, f"{HOUSE}new/"):
        assert client.get(page).status_code == 200
    block(owner, site=slot.site)
    gone = block(owner, value="sound", removed_at=clock.now())
    FloorRule.objects.create(
        publisher=owner.organisation, site=slot.site, country="DE", floor_micros=2 * MICROS
    )
    ad = HouseAd.objects.create(
        publisher=owner.organisation, name="Abo", headline="Read us", landing_url="https://news.example/"
    )
    text = client.get(RULES).content.decode()
    assert "$2.00" in text
    assert f"/publisher/rules/blocks/{gone.public_id}/restore/" in text
    factories.fill_stat(slot, reason="outbid", instead=f"house:{ad.pk}", requests=7, hour=clock.now())
    factories.fill_stat(slot, reason="", requests=3, hour=clock.now())
    page = client.get(HOUSE)
    assert page.context["house_shown"] == 7
    assert page.context["fill"].rate == 0.3  # house ads are no fill
    assert client.get(f"{HOUSE}{ad.public_id}/edit/").status_code == 200


def test_a_block_shows_its_cost_and_is_saved_when_sent_again(client: Client, slot: AdSlot) -> None:
    shown = factories.creative(factories.line_item(factories.campaign(category="Poker")))
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    factories.hourly_stat(shown, slot, hour=hour, impressions=20, spend_micros=MICROS)
    factories.hourly_stat(factories.creative(), slot, hour=hour, impressions=60, spend_micros=MICROS)
    form = {"kind": "category", "category": "Poker", "place": f"slot:{slot.public_id}"}
    page = client.post(BLOCK, form)
    assert "20 impressions (25.0%)" in page.content.decode().replace("\u202f", "").replace(" %", "%")
    assert BlockRule.objects.count() == 0
    changed = client.post(BLOCK, form | {"category": "Golf", "save": page.context["digest"]})
    assert changed.status_code == 200  # its cost was not looked at yet
    assert BlockRule.objects.count() == 0
    assert client.post(BLOCK, form | {"save": page.context["digest"]}).status_code == 302
    rule = BlockRule.objects.get()
    assert (rule.value, rule.slot, rule.site, rule.forecast["earned_share"]) == (
        "poker",
        slot,
        slot.site,
        0.5,
    )
    assert AuditEntry.objects.get(action="block.added").target == "Category: poker"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"kind": "advertiser", "advertiser": "Nobody"}, "Name the advertiser as it stands in its ads."),
        ({"kind": "domain", "domain": "shop"}, "This is not a domain"),
        ({"kind": "category", "category": ""}, "Name the category."),
    ],
)
def test_a_block_that_makes_no_sense_is_sent_back_in_words(
    client: Client, slot: AdSlot, form: dict[str, str], words: str
) -> None:
    answer = client.post(BLOCK, form)
    assert (answer.status_code, words in answer.content.decode()) == (422, True)


def test_a_removed_block_can_be_put_back(client: Client, owner: Membership) -> None:
    rule = block(owner)
    path = f"/publisher/rules/blocks/{rule.public_id}"
    client.post(f"{path}/remove/")
    rule.refresh_from_db()
    assert rule.removed_at is not None
    client.post(f"{path}/restore/")
    rule.refresh_from_db()
    assert rule.removed_at is None
    client.post(f"{path}/remove/")
    block(owner)
    text = client.post(f"{path}/restore/", follow=True).content.decode()
    assert "The same was said again since: there is nothing to put back." in text


def test_floors_competitors_and_house_ads_are_kept(client: Client, slot: AdSlot) -> None:
    floor = {"place": f"slot:{slot.public_id}", "country": "de", "device": "mobile", "floor": "2.50"}
    client.post("/publisher/rules/floors/", floor)
    rule = FloorRule.objects.get()
    assert (rule.slot, rule.country, rule.device, rule.floor_micros) == (slot, "DE", "mobile", 2_500_000)
    wrong = client.post("/publisher/rules/floors/", floor | {"country": "", "device": ""})
    assert (wrong.status_code, FloorRule.objects.count()) == (422, 1)
    one, other = factories.organisation(name="Ford"), factories.organisation(name="Opel")
    client.post("/publisher/rules/competitors/", {"one": "opel", "other": "Ford"})
    pair = CompetingPair.objects.get()
    assert (pair.first, pair.second) == (one, other)
    client.post(f"/publisher/rules/competitors/{pair.pk}/forget/")
    assert CompetingPair.objects.count() == 0
    ad = {"headline": "Read us", "landing_url": "https://news.example/", "size": "300x250", "is_active": "on"}
    assert client.post(f"{HOUSE}new/", ad).status_code == 302
    assert client.post(f"{HOUSE}new/", ad | {"landing_url": "http://news.example/"}).status_code == 422
    assert HouseAd.objects.get().headline == "Read us"


def test_a_passback_over_http_is_sent_back(client: Client, slot: AdSlot) -> None:
    form = {"name": "Article top", "format": "banner", "size": "300x250", "position": "1"}
    path = f"/publisher/slots/{slot.public_id}/edit/"
    wrong = client.post(path, form | {"passback": '<img src="http://other.example/x.gif">'})
    assert (wrong.status_code, "loaded by https" in wrong.content.decode()) == (422, True)
    tag = "https://other.example/tag?slot=7"
    assert client.post(path, form | {"passback": tag, "fallback": "passback_first"}).status_code == 302
    slot.refresh_from_db()
    assert (slot.passback, slot.fallback) == (tag, "passback_first")


def test_another_publishers_rules_do_not_exist_and_analysts_change_nothing(
    client: Client, owner: Membership
) -> None:
    theirs = block(factories.member(factories.publisher()))
    assert client.post(f"/publisher/rules/blocks/{theirs.public_id}/remove/").status_code == 404
    assert "video" not in client.get(RULES).content.decode()
    own = block(owner)
    owner.role = Membership.Role.ANALYST
    owner.save()
    assert client.post(f"/publisher/rules/blocks/{own.public_id}/remove/").status_code == 403
    assert client.get(BLOCK).status_code == 403
    assert "Remove" not in client.get(RULES).content.decode()
    own.refresh_from_db()
    assert own.removed_at is None
