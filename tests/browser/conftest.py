"""A real Chromium against the real pages. Fixtures: `page` (fails the test on a script error or a refusal by the
Content-Security-Policy), `sign_in(user)`, `shot(name)` (a picture in var/screenshots)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from adplatform.core import assets

if TYPE_CHECKING:
    from adplatform.accounts.models import User

# Playwright keeps an event loop in this thread; the tests' own queries there are meant.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

PICTURES = Path(__file__).resolve().parents[2] / "var" / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NARROW = {"width": 390, "height": 844}
WIDE = {"width": 1440, "height": 900}

SignIn = Callable[[Any], None]
Shot = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _real_pages(transactional_db: None) -> None:
    """The server answers from threads of its own: what a test writes must be committed."""


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    assets.build(settings.VAR / "assets")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=FLAGS, headless=True)
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser, live_server: LiveServer) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=live_server.url, viewport=WIDE, reduced_motion="reduce")
    made.set_default_timeout(10_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab; whatever its console calls an error fails the test at its end."""
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda said: wrong.append(f"{opened.url}: {said.text}") if _is_wrong(said) else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    opened.close()
    assert wrong == []


def _is_wrong(message: ConsoleMessage) -> bool:
    """Pages may refuse (403, 404, 422) and tests ask for it; a script or style that does not come is always wrong."""
    refusal = message.text.startswith("Failed to load resource") and "/static/" not in message.location["url"]
    return message.type == "error" and not refusal


@pytest.fixture
def sign_in(context: BrowserContext, live_server: LiveServer) -> SignIn:
    """Open the pages as that person, without the form."""

    def act(user: User) -> None:
        client = Client()
        client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])

    return act


@pytest.fixture
def shot(page: Page) -> Shot:
    """A picture of the whole page."""

    def take(name: str) -> Path:
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=path, full_page=True)
        return path

    return take


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def wait_for_charts(page: Page) -> None:
    """Every chart of the page is drawn."""
    for chart in page.locator("[data-figure]").all():
        chart.scroll_into_view_if_needed()
        page.wait_for_selector(f"#{chart.get_attribute('id')}[data-ready]")


def nameless(page: Page) -> list[str]:
    """Controls without a name that a screen reader could say, and ids that stand twice."""
    found: list[str] = page.evaluate(
        """() => {
            const named = e => e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim() || e.querySelector("img[alt]:not([alt=''])");
            const controls = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea")];
            const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
            return [...controls.filter(e => !named(e)).map(e => e.outerHTML.slice(0, 120)), ...ids.filter((id, i) => ids.indexOf(id) !== i)];
        }"""
    )
    return found
