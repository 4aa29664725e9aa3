"""What a visitor says under "Why this ad?": heard once, true at the next request, taken back as easily."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from adplatform.campaigns.models import Creative
from adplatform.core import clock
from adplatform.events.models import AdDecision, Feedback
from adplatform.events.records import FeedbackGiven, pack
from adplatform.events.stream import EventStream, connect
from adplatform.learning import feedback, hidden
from adplatform.learning.models import SimilarAds
from adplatform.serving import pipeline, wsgi
from adplatform.serving.tokens import signer
from tests import factories
from tests.serving import market as m

pytestmark = pytest.mark.django_db
READER = {"id": "reader", "consent": m.AGREED}


@dataclass
class Visit:
    """A reader in front of a page that showed an ad, and the page that says why."""

    market: Any
    slot: Any

    def ad(self, user: dict[str, Any] | None = READER) -> dict[str, Any] | None:
        body = {"placements": [{"id": "a", "slot": self.slot.public_id}]} | ({"user": user} if user else {})
        shown = m.call(wsgi.application, "POST", "/v1/decisions", body).json["placements"]["a"]["ads"]
        self.market.server.flush()
        pipeline.drain_all(self.market.events, self.market.hot)
        return shown[0] if shown else None

    def page(self, ad: dict[str, Any]) -> HttpResponse:
        return Client().get(_path(ad["why_url"]))

    def say(self, ad: dict[str, Any], kind: str, *, origin: str = "") -> m.Reply:
        """Press the button that the page has for this kind, whatever it says."""
        action, fields = _form(self.page(ad), kind)
        headers = {"ORIGIN": origin} if origin else {}
        return m.call(wsgi.application, "POST", action, _encoded(fields), **headers)


def _path(url: str) -> str:
    return url[url.index("/", 8) :]


def _encoded(fields: dict[str, str]) -> bytes:
    return "&".join(f"{name}={value}" for name, value in fields.items()).encode()


def _form(page: HttpResponse, kind: str) -> tuple[str, dict[str, str]]:
    for action, inner in re.findall(
        r'<form method="post" action="([^"]+)".*?>(.*?)</form>', page.content.decode(), re.S
    ):
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', inner))
        if fields["kind"] == kind:
            return html.unescape(action), fields
    raise AssertionError(f"no button for {kind}")


@pytest.fixture
def visit(serve) -> Visit:
    m.ad(headline="Trail shoes that grip")
    market = serve()
    return Visit(market, _published_slot(market))


def _published_slot(market: Any) -> Any:
    slot = m.slot()
    market.publish()
    return slot


def test_not_interested_hides_the_ad_at_the_next_request_and_undo_brings_it_back(visit: Visit) -> None:
    ad = visit.ad()
    assert ad is not None
    heard = visit.say(ad, "not_interested")
    assert heard.status == 303
    assert heard.headers["Location"].startswith("/why/")
    assert visit.ad() is None
    refused = AdDecision.objects.latest("served_at")
    assert (refused.no_ad, refused.refused) == ("visitor_hid", {"visitor_hid": 1})
    assert "Undo" in visit.page(ad).content.decode()
    visit.say(ad, "not_interested")  # the page's button takes it back now
    assert visit.ad() is not None
    rows = list(Feedback.objects.order_by("turn").values_list("kind", "turn", "is_given"))
    assert rows == [("not_interested", 0, True), ("not_interested", 1, False)]


def test_other_visitors_still_see_it(visit: Visit) -> None:
    visit.say(visit.ad(), "hide_advertiser")
    assert visit.ad() is None
    assert visit.ad({"id": "another", "consent": m.AGREED}) is not None
    assert visit.ad(None) is not None


def test_hiding_an_advertiser_hides_its_other_ads_but_not_its_rivals(serve) -> None:
    owner = m.advertiser()
    m.ad(owner)
    market = serve()
    visit = Visit(market, _published_slot(market))
    visit.say(visit.ad(), "hide_advertiser")
    m.ad(owner)
    market.publish()
    assert visit.ad() is None
    rival = m.ad()
    market.publish()
    assert visit.ad()["creative_id"] == str(rival.public_id)


def test_seen_too_often_hides_for_a_week(visit: Visit) -> None:
    ad = visit.ad()
    visit.say(ad, "seen_too_often")
    (field,) = visit.market.hot.hgetall(hidden.hide_key(AdDecision.objects.first().visitor)).items()
    assert field[0].startswith(b"o:")
    line_items, _ = hidden.hidden_from(dict([field]), clock.now().timestamp() + 7 * 86_400 - 60)
    later, _ = hidden.hidden_from(dict([field]), clock.now().timestamp() + 7 * 86_400 + 60)
    assert (len(line_items), len(later)) == (1, 0)


def test_pressing_twice_is_one_fact(visit: Visit) -> None:
    ad = visit.ad()
    action, fields = _form(visit.page(ad), "not_interested")
    for _ in range(3):
        assert m.call(wsgi.application, "POST", action, _encoded(fields)).status == 303
    pipeline.drain_all(visit.market.events, visit.market.hot)
    assert Feedback.objects.count() == 1


def test_what_comes_late_does_not_undo_what_came_after(visit: Visit) -> None:
    ad = visit.ad()
    visit.say(ad, "not_interested")
    visit.say(ad, "not_interested")
    pipeline.drain_all(
        visit.market.events, visit.market.hot
    )  # ingest repeats the first word after the second
    assert visit.ad() is not None


def test_without_consent_nothing_is_hidden_and_the_page_says_so(visit: Visit) -> None:
    ad = visit.ad(None)
    page = visit.page(ad).content.decode()
    assert "You did not agree to be recognised" in page
    assert "Nothing about you was used" in page
    visit.say(ad, "not_interested")
    assert visit.ad(None) is not None
    assert list(visit.market.hot.scan_iter("hide:*")) == []
    assert Feedback.objects.get().visitor == ""
    assert "thank you" in visit.page(ad).content.decode()


def test_the_page_names_who_paid_escapes_it_and_tells_no_id(serve) -> None:
    creative = m.ad(m.advertiser(name="Bad <b>Brand</b>"))
    market = serve()
    visit = Visit(market, _published_slot(market))
    ad = visit.ad()
    page = visit.page(ad)
    text = page.content.decode()
    assert page.status_code == 200
    assert "Bad &lt;b&gt;Brand" in text
    assert "<b>Brand" not in ad["html"]
    decision = AdDecision.objects.get()
    for secret in (
        decision.visitor,
        decision.decision_id.hex,
        str(decision.decision_id),
        str(creative.public_id),
    ):
        assert secret not in text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not page.cookies
    assert (page.headers["Cache-Control"], page.headers["Referrer-Policy"]) == ("no-store", "no-referrer")


@pytest.mark.parametrize(
    "change", [{"kind": "like"}, {"turn": "20"}, {"turn": "-1"}, {"given": "2"}, {"turn": "x"}]
)
def test_what_is_malformed_gets_400_and_leaves_nothing(visit: Visit, change: dict[str, str]) -> None:
    action, fields = _form(visit.page(visit.ad()), "not_interested")
    assert m.call(wsgi.application, "POST", action, _encoded(fields | change)).status == 400
    assert visit.market.events.xlen("events") == 0


def test_only_the_page_can_speak_and_only_for_a_day(visit: Visit) -> None:
    ad = visit.ad()
    fields = {"kind": "not_interested", "turn": "0", "given": "1"}
    why = _path(ad["why_url"]).removeprefix("/why/")
    assert m.call(wsgi.application, "POST", f"/e/f/{why}", _encoded(fields)).status == 404
    assert m.call(wsgi.application, "GET", f"/e/f/{why}").status == 405
    served = signer.read("why", why)
    old = type(served)(
        **{name: getattr(served, name) for name in served.__struct_fields__} | {"expires_at": clock.now()}
    )
    assert (
        m.call(wsgi.application, "POST", f"/e/f/{signer.sign('feedback', old)}", _encoded(fields)).status
        == 410
    )
    assert Client().get(f"/why/{signer.sign('why', old)}").status_code == 410
    assert Client().get("/why/forged").status_code == 404
    assert visit.market.events.xlen("events") == 0


def test_when_nothing_can_be_stored_it_says_so(visit: Visit, tmp_path) -> None:
    from adplatform.events.spool import Spool

    ad = visit.ad()
    visit.market.server.stream = EventStream(
        connect("redis://127.0.0.1:1/0"), Spool(tmp_path / "full", limit_bytes=1)
    )
    assert visit.say(ad, "not_interested").status == 503


def test_what_valkey_lost_comes_back_from_the_facts(visit: Visit) -> None:
    ad = visit.ad()
    visit.say(ad, "hide_advertiser")
    assert visit.ad() is None
    visit.market.hot.flushdb()
    assert visit.ad() is not None
    assert feedback.restore(visit.market.hot, clock.now() + timedelta(seconds=1)) == 1
    assert visit.ad() is None


def test_what_is_said_while_valkey_is_away_holds_once_it_is_stored(visit: Visit) -> None:
    ad = visit.ad()
    served = signer.read("why", _path(ad["why_url"]).removeprefix("/why/"))
    visit.market.server.stream.append(pack(FeedbackGiven("not_interested", served, clock.now())))
    pipeline.drain_all(visit.market.events, visit.market.hot)
    assert visit.ad() is None


def test_the_kinds_are_the_same_everywhere() -> None:
    assert set(hidden.KINDS) == set(Feedback.Kind.values)


def test_more_like_this_hides_nothing_and_the_page_tells_what_it_would_move(visit: Visit) -> None:
    shown = visit.ad()
    assert shown is not None
    creative = Creative.objects.get(public_id=shown["creative_id"])
    factories.creative(creative.line_item)  # not published yet
    SimilarAds.objects.create(
        creative_id=creative.pk, encoder="e", computed_at=clock.now(), running=14, advertisers=6
    )
    page = html.unescape(visit.page(shown).content.decode())
    assert "“Not interested” hides this ad and 1 other of the same offer." in page
    assert "14 other ads that run now, by 6 advertisers, are about the same things" in page
    visit.say(shown, "more_like_this")
    assert visit.ad() is not None
    assert Feedback.objects.get().kind == "more_like_this"
    assert "Take back: More like this" in visit.page(shown).content.decode()
