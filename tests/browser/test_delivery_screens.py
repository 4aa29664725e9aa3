"""The delivery funnel and the trial of a request as people see them: drawn, named, and no wider than the window."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from adplatform import settings
from adplatform.console import trial
from adplatform.core import clock
from adplatform.events.models import DeliveryHour
from tests import factories as f
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow, wait_for_charts
from tests.serving import market as m

FUNNEL = {
    "won": 38_200, "budget_spent": 37_950, "outbid": 13_100, "frequency_cap": 6_400, "wrong_country": 3_100,
    "not_retrieved": 900, "below_floor": 350,
}  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_show_funnels_and_trials(
    page: Page,
    sign_in: SignIn,
    shot: Shot,
    theme: str,
    tmp_path: Any,
    hot: Any,
    events: Any,
    monkeypatch: Any,
) -> None:
    ad = m.ad(
        campaign={"bid_strategy": "manual_cpm", "name": "Autumn running shoes"},
        line_item={"bid_micros": 5_000_000, "name": "Everyone"},
    )
    m.ad(campaign={"bid_strategy": "manual_cpm"}, line_item={"bid_micros": 2_000_000})
    m.ad(line_item={"targeting": {"country": ["JP"]}})
    slot = m.slot()
    owner = ad.line_item.campaign.organisation
    owners = {"campaign_id": ad.line_item.campaign_id, "advertiser_id": owner.pk}
    DeliveryHour.objects.create(line_item_id=ad.line_item_id, hour=clock.now(), outcomes=FUNNEL, **owners)
    monkeypatch.setattr(settings, "SNAPSHOT_DIR", tmp_path / "snapshots")
    trial._trials.cache_clear()
    m.market(tmp_path, hot, events)
    page.emulate_media(color_scheme=theme)
    page.set_default_timeout(30_000)  # the first page starts everything
    sign_in(f.member(owner).user)
    portal = [
        ("campaign-delivery", reverse("portal:campaign", args=[ad.line_item.campaign.public_id])),
        ("line-item-delivery", reverse("portal:line_item_delivery", args=[ad.line_item.public_id])),
    ]
    _look(page, shot, portal, theme)
    sign_in(f.operator())
    console = [
        ("console-delivery", reverse("console:delivery")),
        ("console-line-item", reverse("console:line_item_delivery", args=[ad.line_item.public_id])),
    ]
    _look(page, shot, console, theme)
    page.set_viewport_size(WIDE)
    page.goto(reverse("console:trial"))
    page.fill("#id_slot", slot.public_id)
    page.fill("#id_country", "DE")
    page.get_by_role("button", name="Try it").click()
    page.get_by_role("button", name="Autumn running shoes · Everyone").click()
    page.get_by_role("heading", name="Every rule about the line item").wait_for()
    for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
        page.set_viewport_size(viewport)
        shot(f"console-trial-{size}-{theme}")
        assert overflow(page) <= 0
    assert nameless(page) == []
    trial._trials.cache_clear()


def _look(page: Page, shot: Shot, pages: list[tuple[str, str]], theme: str) -> None:
    for name, url in pages:
        for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
            page.set_viewport_size(viewport)
            answer = page.goto(url)
            assert answer is not None
            assert answer.ok, (name, answer.status)
            wait_for_charts(page)
            shot(f"{name}-{size}-{theme}")
            assert overflow(page) <= 0, (name, size)
        assert nameless(page) == [], name
