"""The publisher tag on a page of another origin: it shows the ad in a sandbox and counts what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Request

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


class Tab:
    """A page of 1440 × 600 with ads at places of it, and the views that it has reported: by slot, what was measured."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._context = browser.new_context(viewport={"width": 1440, "height": 600})
        self.page = self._context.new_page()
        self.reported: list[tuple[float, str]] = []
        self.page.on("request", self._note)
        self.page.goto(url)

    def _note(self, request: Request) -> None:
        _, is_view, measured = request.url.partition("/e/v/")
        if is_view:
            self.reported.append((time.monotonic(), measured.partition("?m=")[2]))

    @property
    def views(self) -> list[str]:
        return [measured for _, measured in self.reported]

    def rendered(self, count: int) -> None:
        for number in range(count):
            self.page.locator("[data-adstate=filled] iframe").nth(number).wait_for()
        self.page.wait_for_timeout(300)  # their frames have loaded and are watched

    def scroll(self, pixels: int) -> None:
        self.page.evaluate(f"scrollTo(0, {pixels})")

    def wait_for_views(self, count: int) -> None:
        deadline = time.monotonic() + 15
        while len(self.views) < count and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)

    def close(self) -> None:
        self._context.close()


def _at(slot: Any, *, top: int, left: int = 0) -> str:
    return (
        f'<div data-adslot="{slot.public_id}" style="position: absolute; top: {top}px; left: {left}px"></div>'
    )


@pytest.fixture
def site() -> Any:
    return factories.site(domain="localhost")


@pytest.fixture
def sizes(site: Any) -> Any:
    """Slots of 970 × 250 (242,500 pixels: large) and 300 × 250, each with its ad."""
    for width, height in ((970, 250), (300, 250)):
        m.ad(width=width, height=height)
    return [m.slot(site_=site, width=width, height=250) for width in (970, 300)]


def test_of_a_large_ad_three_tenths_are_enough(sizes, ads, publish_page, browser: Browser, events) -> None:
    """A third of two ads stands in the window: the large one is viewed, the other when half of it does."""
    large, small = sizes
    tab = Tab(
        browser,
        publish_page(
            f'<body style="margin: 0; height: 3000px">{_at(large, top=600)}{_at(small, top=600, left=1000)}'
            f'<script async src="{ads}/tag/v1.js"></script>'
        ),
    )
    tab.rendered(2)
    tab.scroll(60)  # 24 %
    tab.page.wait_for_timeout(2_000)
    assert tab.views == []
    tab.scroll(90)  # 36 %
    tab.wait_for_views(1)
    tab.page.wait_for_timeout(1_500)
    assert tab.views == ["display30"]
    tab.scroll(140)  # 56 %
    tab.wait_for_views(2)
    assert tab.views == ["display30", "display50"]
    tab.close()
    deadline = time.monotonic() + 15
    while View.objects.count() < 2 and time.monotonic() < deadline:
        pipeline.drain_all(events, None)
    assert set(View.objects.values_list("slot_id", "seen")) == {
        (large.pk, "display30"),
        (small.pk, "display50"),
    }


@pytest.fixture
def video(site: Any) -> Any:
    """No form offers videos yet; the tag measures them by their own rule."""
    m.ad(format="video", width=640, height=360)
    return m.slot(site_=site, format="video", width=640, height=360)


def test_of_a_video_half_is_wanted_for_two_seconds_without_a_break(
    video, ads, publish_page, browser: Browser, events
) -> None:
    tab = Tab(
        browser,
        publish_page(
            f'<body style="margin: 0; height: 3000px">{_at(video, top=600)}'
            f'<script async src="{ads}/tag/v1.js"></script>'
        ),
    )
    tab.rendered(1)
    tab.scroll(150)  # 42 %
    tab.page.wait_for_timeout(2_500)
    assert tab.views == []
    # Somebody looks elsewhere once a second: two seconds never pass.
    tab.page.evaluate("elsewhere = setInterval(() => dispatchEvent(new Event('blur')), 1000)")
    tab.scroll(220)  # 61 %
    tab.page.wait_for_timeout(4_500)
    assert tab.views == []
    tab.page.evaluate("clearInterval(elsewhere); dispatchEvent(new Event('focus'))")
    began = time.monotonic()
    tab.wait_for_views(1)
    ((reported_at, measured),) = tab.reported
    assert measured == "video50"
    assert reported_at - began >= 1.8  # the browser's clock, and how long its message took to come here
    tab.close()
    assert stored(View, events).seen == "video50"


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
