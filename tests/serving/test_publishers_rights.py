"""What publishers demand holds from the database to the answer: blocks, floors, house ads, passback, variety."""

from __future__ import annotations

from typing import Any

import pytest

from adplatform.core import clock
from adplatform.events.models import AdDecision, FillStat, Impression
from adplatform.inventory.models import BlockRule, Category, CompetingPair, Fallback, FloorRule, HouseAd
from adplatform.serving import pipeline
from adplatform.serving.admission import AT_ONCE
from adplatform.serving.deadline import TooLateError
from adplatform.serving.endpoints import decisions
from tests import factories
from tests.serving import market as m

pytestmark = pytest.mark.django_db
Kind = BlockRule.Kind


def block(place, kind: str, value: str = "", **fields) -> BlockRule:
    return BlockRule.objects.create(publisher=place.site.publisher, kind=kind, value=value, **fields)


def house(slot, **fields) -> HouseAd:
    words = {"name": "Abo", "headline": "Read us <daily>", "landing_url": "https://news.example/abo?a=1&b=2"}
    return HouseAd.objects.create(publisher=slot.site.publisher, **words | fields)


def asked(ask, slot, **fields):
    body = {"placements": [{"id": "a", "slot": slot.public_id}]} | fields
    return ask("POST", "/v1/decisions", body).json["placements"]["a"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.CATEGORY, "gambling"),  # the ad's is “Poker”, which lies below it
        (Kind.DOMAIN, "shop.example"),  # the ad leads to www.shop.example
        (Kind.ATTRIBUTE, "video"),
        (Kind.ATTRIBUTE, "language:de"),
        (Kind.ATTRIBUTE, "size:300x250"),
        (Kind.ADVERTISER, ""),
    ],
)
def test_a_block_keeps_the_ad_out_until_it_is_removed(serve, ask, kind: str, value: str) -> None:
    top = Category.objects.create(name="gambling")
    Category.objects.create(name="poker", parent=top)
    slot, other = m.slot(), m.slot()
    ad = m.ad(
        campaign={"category": "Poker"},
        landing_url="https://www.shop.example/a",
        language="de",
        attributes=["video"],
    )
    owner = ad.line_item.campaign.organisation if kind == Kind.ADVERTISER else None
    rule = block(slot, kind, value, advertiser=owner)
    market = serve()
    assert asked(ask, slot)["no_ad"] == "blocked_by_publisher"
    assert asked(ask, other)["no_ad"] is None
    rule.removed_at = clock.now()
    rule.save()
    market.publish()
    assert asked(ask, slot)["no_ad"] is None


def test_a_block_holds_in_its_site_or_slot_alone(serve, ask) -> None:
    site = factories.site()
    blocked, free = factories.slot(site), factories.slot(site)
    elsewhere = factories.slot(factories.site(site.publisher))
    m.ad(attributes=["alcohol", "video"])
    block(blocked, Kind.ATTRIBUTE, "alcohol", site=site, slot=blocked)
    block(elsewhere, Kind.ATTRIBUTE, "video", site=elsewhere.site)
    serve()
    assert [asked(ask, one)["no_ad"] for one in (blocked, free, elsewhere)] == [
        "blocked_by_publisher",
        None,
        "blocked_by_publisher",
    ]


def test_the_floor_of_a_country_holds_and_is_recorded(serve, ask, events, settings) -> None:
    slot = m.slot(floor_micros=100_000)
    FloorRule.objects.create(
        publisher=slot.site.publisher, site=slot.site, slot=slot, country="DE", floor_micros=300_000
    )
    campaign = {"bid_strategy": "manual_cpm"}
    m.ad(campaign=campaign, line_item={"bid_micros": 5 * m.MICROS})
    market = serve()
    settings.TRUST_PROXY = True
    body = {"placements": [{"id": "a", "slot": slot.public_id}]}
    key = factories.api_key(secret="s" * 40)
    market.publish()
    for country in ("DE", "FR"):
        ask(
            "POST",
            "/v1/decisions",
            body | {"context": {"country": country}},
            AUTHORIZATION=f"Bearer {key.prefix}.{'s' * 40}",
        )
    market.server.flush()
    pipeline.drain_all(events, market.hot)
    rows = AdDecision.objects.order_by("-floor_micros").values_list("country", "floor_micros", "price_micros")
    assert list(rows) == [("DE", 300_000, 300_000), ("FR", 100_000, 100_000)]


def test_an_advertiser_has_one_ad_in_an_answer_unless_the_site_allows_more(serve, ask) -> None:
    site = factories.site(ads_per_advertiser=2)
    slot, strict = factories.slot(site), factories.slot(site, ads_per_advertiser=1)
    owner = m.advertiser()
    for _ in range(3):
        m.ad(owner)
    serve()

    def shown(place) -> int:
        body = {"placements": [{"id": "a", "slot": place.public_id, "count": 3}]}
        return len(ask("POST", "/v1/decisions", body).json["placements"]["a"]["ads"])

    assert (shown(slot), shown(strict)) == (2, 1)


def test_named_competitors_and_those_of_a_category_never_stand_together(serve, ask) -> None:
    site = factories.site()
    slot, second = factories.slot(site), factories.slot(site)
    for category in ("cars", "cars", "shoes"):
        m.ad(campaign={"category": category})
    market = serve()
    body = {"placements": [{"id": "a", "slot": slot.public_id, "count": 3}]}

    def shown() -> int:
        return len(ask("POST", "/v1/decisions", body).json["placements"]["a"]["ads"])

    assert shown() == 2
    site.separates_categories = False
    site.save()
    market.publish()
    assert shown() == 3
    owners = sorted(ad.advertiser_id for ad in market.server.snapshot.candidates)
    CompetingPair.objects.create(publisher=site.publisher, first_id=owners[0], second_id=owners[1])
    CompetingPair.objects.create(publisher=site.publisher, first_id=owners[0], second_id=owners[2])
    CompetingPair.objects.create(publisher=site.publisher, first_id=owners[1], second_id=owners[2])
    market.publish()
    assert shown() == 1
    both = {"placements": [{"id": "a", "slot": slot.public_id}, {"id": "b", "slot": second.public_id}]}
    answer = ask("POST", "/v1/decisions", both).json["placements"]
    assert answer["b"]["no_ad"] == "competing_advertiser"


# --- what stands there without a paid ad ------------------------------------------------------------------------------


def test_a_house_ad_stands_where_no_paid_ad_wins_and_is_no_fill(serve, ask, events) -> None:
    slot = m.slot(floor_micros=100 * m.MICROS)
    m.ad(line_item={"bid_micros": 1_000})
    own = house(slot)
    house(slot, width=728)  # does not fit
    house(slot, is_active=False)
    market = serve()
    answer = asked(ask, slot)
    assert (answer["ads"], answer["no_ad"]) == ([], "below_floor")
    assert answer["house"]["id"] == str(own.public_id)
    assert answer["house"]["click_url"] == "https://news.example/abo?a=1&b=2"
    assert "Read us &lt;daily&gt;" in answer["house"]["html"]
    assert 'href="https://news.example/abo?a=1&amp;b=2"' in answer["house"]["html"]
    market.server.flush()
    pipeline.drain_all(events, market.hot)
    (stat,) = FillStat.objects.all()
    assert (stat.reason, stat.instead, stat.requests) == ("below_floor", f"house:{own.pk}", 1)
    assert AdDecision.objects.get().instead == f"house:{own.pk}"
    assert Impression.objects.count() == 0


@pytest.mark.parametrize(
    ("fallback", "has_house", "wanted"),
    [
        (Fallback.HOUSE_FIRST, True, "house"),
        (Fallback.HOUSE_FIRST, False, "passback"),
        (Fallback.PASSBACK_FIRST, True, "passback"),
        (Fallback.NOTHING, True, None),
    ],
)
def test_the_slot_says_what_comes_first(serve, ask, fallback: str, has_house: bool, wanted: str) -> None:
    slot = m.slot(fallback=fallback, passback="https://other.example/tag?slot=1")
    if has_house:
        house(slot)
    serve()
    answer = asked(ask, slot)
    assert {name for name in ("house", "passback") if name in answer} == ({wanted} if wanted else set())
    if wanted == "passback":
        assert answer["passback"] == {"url": "https://other.example/tag?slot=1", "width": 300, "height": 250}


def test_a_passback_of_html_may_load_https_alone(serve, ask) -> None:
    slot = m.slot(passback='<script src="https://other.example/x.js"></script>')
    serve()
    page = asked(ask, slot)["passback"]["html"]
    assert '<script src="https://other.example/x.js"></script>' in page
    assert "default-src https: data: blob:" in page


def shed(market: Any, monkeypatch: Any) -> None:
    for _ in range(AT_ONCE):
        assert market.server.admission.enter()
    market.server.admission.mean_seconds = 1.0


def late(market: Any, monkeypatch: Any) -> None:
    def too_late(*_: object) -> None:
        raise TooLateError

    monkeypatch.setattr(market.server, "_answer", too_late)


def in_error(market: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(market.server, "_answer", lambda *_: 1 / 0)


def in_error_before(market: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(decisions, "read", lambda *_, **__: 1 / 0)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [(shed, "shed"), (late, "late"), (in_error, "error"), (in_error_before, "error")],
)
@pytest.mark.parametrize("kind", ["house", "passback"])
def test_who_is_not_decided_for_still_sees_the_house_ad_or_the_passback(
    serve, ask, monkeypatch, trouble, reason: str, kind: str
) -> None:
    m.ad()
    slot = m.slot(passback="https://other.example/tag?slot=1" if kind == "passback" else "")
    if kind == "house":
        house(slot)
    market = serve()
    trouble(market, monkeypatch)
    answer = asked(ask, slot)
    assert (answer["ads"], answer["no_ad"]) == ([], reason)
    if kind == "house":
        assert answer["house"]["click_url"].startswith("https://")
    else:
        assert answer["passback"]["url"] == "https://other.example/tag?slot=1"
    assert asked(ask, m.slot()) == {
        "ads": [],
        "no_ad": reason,
    }  # unknown here, and without anything of its own


def test_a_slot_without_rules_says_nothing_more(serve, ask) -> None:
    slot = m.slot()
    market = serve()
    assert asked(ask, slot) == {"ads": [], "no_ad": "no_candidates"}
    assert market.server.snapshot.fallbacks == {}


def test_a_site_that_asks_for_variety_shows_another_advertiser_next(serve, ask) -> None:
    site = factories.site(variety=1.0)
    slot = factories.slot(site)
    bids = {"bid_strategy": "manual_cpm", "category": "cars"}
    first = m.ad(campaign=bids, line_item={"bid_micros": 3 * m.MICROS})
    m.ad(campaign=bids | {"category": "golf"}, line_item={"bid_micros": 2 * m.MICROS})
    market = serve()
    body = {"user": {"id": "reader-1", "consent": m.AGREED}}

    def shown() -> str:
        (ad,) = asked(ask, slot, **body)["ads"]
        ask("GET", ad["impression_url"].partition("/e/i/")[1] + ad["impression_url"].partition("/e/i/")[2])
        market.server.flush()
        return ad["creative_id"]

    seen = [shown() for _ in range(4)]
    assert seen[0] == str(first.public_id)
    assert len(set(seen[:2])) == 2  # 3.00 counts 3 / (1 + 1 + 1/2) = 1.20 after one impression
    site.variety = 0.0
    site.save()
    market.publish()
    assert not market.server.snapshot.counts_variety
    assert shown() == str(first.public_id)
