"""The visitor's page "Why this ad" in a real browser: light, dark, on a telephone; hide, undo, without script or cookie."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page

from adplatform.core import clock
from adplatform.embedded import net
from adplatform.events.models import Feedback
from adplatform.serving import pipeline, publish
from tests import processes
from tests.browser.conftest import NARROW, PICTURES, WIDE, nameless, overflow
from tests.serving import market as m

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).resolve().parents[2]
READER = {"id": "reader", "consent": m.AGREED}


@pytest.fixture
def pages(
    browser: Browser, hot: Any, events: Any, tmp_path: Path, process_environment: dict[str, str]
) -> Iterator[str]:
    """The pages role on a published market; gives its address."""
    (tmp_path / "assets").symlink_to(settings.VAR / "assets")  # built for the browser
    port = net.free_port(set())
    url = f"http://127.0.0.1:{port}"
    environment = process_environment | {"ADPLATFORM_VAR": str(tmp_path), "BASE_URL": url, "ADS_URL": url}
    m.ad(
        m.advertiser(name="Fleetfoot Sports"), headline="Trail shoes that grip on wet rock", body="Deep lugs."
    )
    m.slot(public_id="top")
    publish.publish(at=clock.now(), folder=tmp_path / "snapshots", hot=hot)
    with processes.web(processes.PAGES, environment, port=port):
        yield url


def served(page: Page, pages: str, events: Any, user: dict[str, Any] | None) -> str | None:
    """Ask for an ad as a page does; gives the address of its explanation."""
    body = {"placements": [{"id": "a", "slot": "top"}]} | ({"user": user} if user else {})
    answer = page.request.post(f"{pages}/v1/decisions", data=body).json()
    while answer["mode"] in ("late", "shed"):  # the first request of a process on a busy machine
        answer = page.request.post(f"{pages}/v1/decisions", data=body).json()
    ads = answer["placements"]["a"]["ads"]
    time.sleep(0.2)  # decisions leave the process every 50 ms
    pipeline.drain_all(events, None)
    return ads[0]["why_url"] if ads else None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_hides_and_takes_back(pages: str, browser: Browser, events: Any, scheme: Any, size: Any) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    url = served(page, pages, events, READER)
    assert url is not None
    page.goto(url)
    assert page.get_by_role("heading", level=1).inner_text() == "Why you see this ad"
    assert "Fleetfoot Sports" in page.inner_text("body")
    assert (overflow(page), nameless(page)) == (0, [])
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = f"why-{scheme}-{size['width']}"
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
    page.get_by_role("button", name="Hide this advertiser").click()
    page.wait_for_selector(".said")
    page.screenshot(path=PICTURES / f"{name}-said.png", full_page=True)
    assert overflow(page) == 0
    assert served(page, pages, events, READER) is None
    page.get_by_role("button", name="Take back: Hide this advertiser").click()
    page.wait_for_selector(".said", state="detached")
    assert served(page, pages, events, READER) is not None
    assert list(Feedback.objects.order_by("turn").values_list("is_given", flat=True)) == [True, False]
    assert context.cookies() == []
    assert wrong == []
    context.close()


def test_without_consent_and_after_a_cut_address_it_says_what_is(
    pages: str, browser: Browser, events: Any
) -> None:
    context = browser.new_context(viewport=NARROW, java_script_enabled=False)
    page = context.new_page()
    url = served(page, pages, events, None)
    assert url is not None
    page.goto(url)
    assert "You did not agree to be recognised" in page.inner_text("body")
    page.screenshot(path=PICTURES / "why-without-consent.png", full_page=True)
    page.get_by_role("button", name="Not interested").click()
    assert "thank you" in page.inner_text("body")
    page.goto(url[:-3])
    assert page.get_by_role("heading", level=1).inner_text() == "This address is not ours"
    page.screenshot(path=PICTURES / "why-unknown.png", full_page=True)
    context.close()
