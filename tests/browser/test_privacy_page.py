"""The console's privacy page: empty, with something overdue and forgotten, and the question before it forgets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from adplatform.core import clock
from adplatform.privacy import erasure
from tests import factories as f
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow

pytestmark = [pytest.mark.browser, pytest.mark.long]
PAGE = "/console/privacy/"


@pytest.fixture(autouse=True)
def _log(settings: Any, tmp_path: Path) -> None:
    settings.ERASURES_DIR = str(tmp_path)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_it_is_read_in_every_light_and_width(
    page: Page, sign_in: SignIn, shot: Shot, hot: Any, events: Any, theme: str, width: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    sign_in(f.operator())
    seen = f"{theme}-{width}"
    page.goto(PAGE)
    shot(f"privacy-empty-{seen}")
    assert (overflow(page), nameless(page)) == (0, [])

    f.decision(served_at=clock.now() - timedelta(days=40), keywords="boats", visitor="v" * 32)
    for n in range(3):
        erasure.erase(f"reader {n}", at=clock.now() - timedelta(days=n))
    page.goto(PAGE)
    shot(f"privacy-{seen}")
    assert (overflow(page), nameless(page)) == (0, [])

    page.get_by_label("Id of the visitor").fill("anna@example.org")
    page.get_by_role("button", name="Forget …").click()
    expect(page.get_by_role("heading", name="Forget this visitor?")).to_be_visible()
    shot(f"privacy-confirm-{seen}")
    assert (overflow(page), nameless(page)) == (0, [])
    page.get_by_role("button", name="Forget", exact=True).click()
    expect(page.get_by_text("Nothing held.")).to_be_visible()
    shot(f"privacy-done-{seen}")
