"""The publisher tag on a page of another origin: it shows the ad in a sandbox and counts what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.embedded import net
from adplatform.events.models import AdDecision, Click, Impression, View
from adplatform.inventory.models import HouseAd
from adplatform.serving import consent, pipeline, publish
from tests import factories, processes
from tests.serving import market as m

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parents[2]
AGREED = (
    """<script>window.__tcfapi = (command, version, answer) => answer({tcString: "TCF"}, true);</script>"""
)


@pytest.fixture
def ads(hot: Any, events: Any, tmp_path: Path, process_environment: dict[str, str]) -> Iterator[str]:
    """The ads role, on a published market; gives its address."""
    port = net.free_port(set())
    url = f"http://127.0.0.1:{port}"
    environment = process_environment | {"ADPLATFORM_VAR": str(tmp_path), "ADS_URL": url}
    publish.publish(at=clock.now(), folder=tmp_path / "snapshots", hot=hot)
    with processes.web(processes.ADS, environment, port=port):
        yield url


@pytest.fixture
def publish_page() -> Iterator[Any]:
    """Serves one page at http://localhost: the publisher's origin."""
    pages: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages["body"])

        def log_message(self, *_: object) -> None:
            """Tests read what failed, not every request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def publish_(body: str) -> str:
        pages["body"] = body.encode()
        return f"http://localhost:{server.server_port}/story"

    yield publish_
    server.shutdown()


@pytest.fixture
def slot() -> Any:
    m.ad(headline="Trail shoes <script>alert(1)</script>", landing_url="https://shop.example/")
    return m.slot(site_=factories.site(domain="localhost"))


def stored(model: Any, events: Any) -> Any:
    """The one row of this kind, once it has arrived."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        pipeline.drain_all(events, None)
        if (row := model.objects.first()) is not None:
            return row
        time.sleep(0.1)
    pytest.fail(f"no {model.__name__} arrived")


def test_an_ad_is_shown_seen_and_clicked(slot, ads, publish_page, browser: Browser, events) -> None:
    url = publish_page(
        f'<html lang="en"><div data-adslot="{slot.public_id}"></div>{AGREED.replace("TCF", consent.encode({1, 3, 4}))}'
        f'<script async src="{ads}/tag/v1.js" data-user="reader-1" data-keywords="trail, running"></script></html>'
    )
    context = browser.new_context()
    page = context.new_page()
    dialogs: list[object] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog) or dialog.dismiss())
    page.goto(url)
    page.wait_for_selector("[data-adstate=filled] iframe")
    frame = page.frame_locator("[data-adslot] iframe")
    assert "Trail shoes <script>" in frame.locator(".ad-headline").inner_text()
    assert frame.locator(".ad-label").inner_text() == "Ad"

    decision = stored(AdDecision, events)
    assert (decision.keywords, decision.language) == ("trail, running", "en")
    assert len(decision.visitor) == 32
    impression, view = stored(Impression, events), stored(View, events)
    assert impression.decision_id == decision.decision_id
    assert (impression.seen, view.seen) == ("yes", "display50")
    assert (view.occurred_at - decision.served_at).total_seconds() >= 1

    context.route("https://shop.example/**", lambda route: route.fulfill(status=200, body="shop"))
    with context.expect_page() as opened:
        frame.locator(".ad-link").click()
    opened.value.wait_for_url("https://shop.example/")
    assert stored(Click, events).decision_id == decision.decision_id
    assert dialogs == []
    assert context.cookies() == []
    context.close()


def test_without_consent_no_id_leaves_the_page(slot, ads, publish_page, browser: Browser, events) -> None:
    url = publish_page(
        f'<div data-adslot="{slot.public_id}"></div><script async src="{ads}/tag/v1.js" data-user="reader-1"></script>'
    )
    context = browser.new_context()
    page = context.new_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.goto(url)
    page.wait_for_selector("[data-adstate=filled] iframe")
    assert not any("reader-1" in body for body in sent)
    assert stored(AdDecision, events).visitor == ""
    assert pseudonym("reader-1") not in str(sent)
    context.close()


def test_an_empty_place_says_why(slot, ads, publish_page, browser: Browser) -> None:
    url = publish_page(f'<div data-adslot="nothing"></div><script async src="{ads}/tag/v1.js"></script>')
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("[data-adstate=empty][data-adreason=unknown_slot]", state="attached")
    context.close()


def test_a_house_ad_or_a_passback_stands_where_no_paid_ad_wins(
    publish_page, browser: Browser, hot, events, tmp_path, process_environment
) -> None:
    site = factories.site(domain="localhost")
    house = m.slot(site_=site, floor_micros=10**9)
    HouseAd.objects.create(
        publisher=site.publisher,
        slot=house,
        site=site,
        name="Abo",
        headline="Read <us>",
        landing_url="https://news.example/abo",
    )
    passback = m.slot(
        site_=site, passback="<script>document.title = 'ran'</script><b>Another ad</b>", width=200
    )
    port = net.free_port(set())
    url = f"http://127.0.0.1:{port}"
    environment = process_environment | {"ADPLATFORM_VAR": str(tmp_path), "ADS_URL": url}
    publish.publish(at=clock.now(), folder=tmp_path / "snapshots", hot=hot)
    places = "".join(f'<div data-adslot="{one.public_id}"></div>' for one in (house, passback))
    with processes.web(processes.ADS, environment, port=port):
        page = browser.new_context().new_page()
        page.goto(publish_page(f'{places}<script async src="{url}/tag/v1.js"></script>'))
        page.wait_for_selector("[data-adstate=house][data-adreason] iframe")
        page.wait_for_selector("[data-adstate=passback] iframe")
        frame = page.frame_locator(f"[data-adslot='{house.public_id}'] iframe")
        assert frame.locator(".ad-headline").inner_text() == "Read <us>"
        assert frame.locator(".ad-link").get_attribute("href") == "https://news.example/abo"
        other = page.locator(f"[data-adslot='{passback.public_id}'] iframe")
        assert "allow-scripts" in (other.get_attribute("sandbox") or "")
        assert "allow-same-origin" not in (other.get_attribute("sandbox") or "")
        inside = page.frame_locator(f"[data-adslot='{passback.public_id}'] iframe")
        assert inside.locator("b").inner_text() == "Another ad"
        assert page.title() != "ran"
        page.context.close()
