"""Impression, view, click and pixel endpoints: forged leaves nothing, durable before acknowledged, clicks redirect."""

from __future__ import annotations

import pytest
from django.conf import settings

from adplatform.events.spool import Spool
from adplatform.events.stream import EventStream, connect
from adplatform.serving import pipeline
from adplatform.serving.tokens import signer
from tests import factories
from tests.serving import market as m

pytestmark = pytest.mark.django_db
GIF = b"GIF89a"


@pytest.fixture
def served(serve, ask):
    """A published market and the ad that it served."""
    creative = m.ad(landing_url="https://shop.example/offer?a=1&b=2")
    slot = m.slot()
    market = serve()
    reply = ask("POST", "/v1/decisions", {"placements": [{"id": "a", "slot": slot.public_id}]})
    (ad,) = reply.json["placements"]["a"]["ads"]
    market.server.flush()
    market.events.delete("events")
    return market, creative, {name: _path(url) for name, url in ad.items() if name.endswith("_url")}


def _path(url: str) -> str:
    return url[url.index("/", 8) :]


def waiting(market) -> int:
    return market.events.xlen("events")


def test_gifs_are_durable_when_they_are_answered(served, ask) -> None:
    market, _, urls = served
    for number, name in enumerate(("impression_url", "view_url"), start=1):
        reply = ask("GET", urls[name])
        assert (reply.status, reply.headers["Content-Type"], reply.body[:6]) == (200, "image/gif", GIF)
        assert reply.headers["Cache-Control"] == "no-store"
        assert waiting(market) == number


def test_a_click_redirects_to_the_registered_page(served, ask) -> None:
    market, _, urls = served
    reply = ask("GET", urls["click_url"])
    assert (reply.status, reply.headers["Location"]) == (302, "https://shop.example/offer?a=1&b=2")
    assert waiting(market) == 1


def test_a_click_after_the_ad_stopped_still_finds_its_page(served, ask) -> None:
    market, creative, urls = served
    creative.line_item.campaign.status = "paused"
    creative.line_item.campaign.save()
    market.publish()
    assert ask("GET", urls["click_url"]).headers["Location"] == "https://shop.example/offer?a=1&b=2"


def test_a_landing_page_too_long_for_a_token_is_found_too(serve, ask) -> None:
    long = "https://shop.example/?q=" + "x" * 1_500
    creative = m.ad(landing_url=long)
    slot = m.slot()
    market = serve()
    reply = ask("POST", "/v1/decisions", {"placements": [{"id": "a", "slot": slot.public_id}]})
    click = _path(reply.json["placements"]["a"]["ads"][0]["click_url"])
    assert len(click) < 300
    creative.status = "archived"
    creative.save()
    market.publish()
    assert ask("GET", click).headers["Location"] == long


@pytest.mark.parametrize("prefix", ["/e/i/", "/e/v/", "/c/"])
def test_a_forged_token_gets_404_and_leaves_nothing(served, ask, prefix) -> None:
    market, _, urls = served
    own = {"/e/i/": "impression_url", "/e/v/": "view_url", "/c/": "click_url"}
    others = [url.rsplit("/", 1)[1] for name, url in urls.items() if name != own[prefix]]
    good = urls[own[prefix]].rsplit("/", 1)[1]
    for token in ("", "x", good[:-1], good + "A", good.swapcase(), *others):
        assert ask("GET", prefix + token).status == 404
    assert waiting(market) == 0
    assert market.server.metrics.get("refused", "forged") == 5 + len(others)


def test_when_nothing_can_be_stored_gifs_say_so_and_clicks_redirect(served, ask, tmp_path) -> None:
    market, _, urls = served
    full = Spool(tmp_path / "full", limit_bytes=1)
    market.server.stream = EventStream(connect("redis://127.0.0.1:1/0"), full)
    for name in ("impression_url", "view_url"):
        assert ask("GET", urls[name]).status == 503
    assert ask("GET", "/e/conv?action=Purchase&event_id=1&advertiser=x").status == 503
    reply = ask("GET", urls["click_url"])
    assert (reply.status, reply.headers["Location"]) == (302, "https://shop.example/offer?a=1&b=2")
    assert market.server.metrics.get("refused", "click_not_stored") == 1


def test_without_valkey_the_spool_holds_it_until_it_is_replayed(served, ask, tmp_path) -> None:
    market, _, urls = served
    spool = Spool(tmp_path / "spool2")
    market.server.stream = EventStream(connect("redis://127.0.0.1:1/0"), spool)
    assert ask("GET", urls["impression_url"]).status == 200
    spool.replay(EventStream(market.events, spool).append_many)
    assert waiting(market) == 1


def test_a_declared_bot_is_marked(served, ask) -> None:
    market, _, urls = served
    ask("GET", urls["click_url"], USER_AGENT="Googlebot/2.1 (+http://www.google.com/bot.html)")
    pipeline.drain_all(market.events, None)
    from adplatform.events.models import Click

    assert Click.objects.get().reason == "bot"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "action=Purchase",
        "event_id=1&advertiser=x",
        "action=Purchase&event_id=1",
        "action=Purchase&event_id=1&click_id=forged",
        "action=Purchase&event_id=1&advertiser=x&value_micros=1.5",
        "action=Purchase&event_id=1&advertiser=x&value_micros=-1",
        "action=Purchase&event_id=1&advertiser=x&currency=usd",
        "action=Purchase&event_id=%00&advertiser=x",
    ],
)
def test_a_malformed_pixel_gets_400(served, ask, query) -> None:
    market, _, _ = served
    assert ask("GET", f"/e/conv?{query}").status == 400
    assert waiting(market) == 0


def test_the_ads_role_sends_why_this_ad_to_the_pages_role(served, ask) -> None:
    _, _, urls = served
    reply = ask("GET", urls["why_url"])
    assert (reply.status, reply.headers["Location"]) == (302, f"{settings.BASE_URL}{urls['why_url']}")


def test_the_tag_is_served(serve, ask) -> None:
    serve()
    tag = ask("GET", "/tag/v1.js")
    assert (tag.status, tag.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert b"sandbox" in tag.body
    assert b"document.cookie" not in tag.body
    assert ask("GET", "/tag/v1.css").status == 200


def test_click_ids_are_what_clicks_carry(served) -> None:
    _, creative, urls = served
    token = urls["click_url"].rsplit("/", 1)[1]
    assert signer.read("click", token).creative_id == creative.pk
    assert factories.NOON  # the market stands beside the factories' own time
