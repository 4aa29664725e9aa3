"""A publisher blocks a kind of ad with its cost in sight, puts a removed block back, and makes a house ad."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from playwright.sync_api import Page, expect

from adplatform.core import clock
from adplatform.inventory.models import BlockRule, HouseAd
from tests import factories
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow, wait_for_charts
from tests.publisher.choices import choices_of_visitors

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_a_publisher_says_what_it_wants(
    page: Page, sign_in: SignIn, shot: Shot, theme: str, width: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    owner = factories.member(factories.publisher(name="Newsroom Ltd"))
    slot = factories.slot(factories.site(owner.organisation, name="Newsroom"), name="Article top")
    ad = factories.creative(factories.line_item(factories.campaign()), attributes=["gambling"])
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    factories.hourly_stat(ad, slot, hour=hour, impressions=200, spend_micros=3_000_000)
    factories.hourly_stat(factories.creative(), slot, hour=hour, impressions=600, spend_micros=9_000_000)
    sign_in(owner.user)

    def looks_right(name: str) -> None:
        wait_for_charts(page)
        shot(f"publisher-{name}-{theme}-{width}")
        assert (overflow(page), nameless(page)) == (0, []), name

    page.goto("/publisher/rules/")
    looks_right("rules-empty")
    page.get_by_role("link", name="New block").first.click()
    page.get_by_role("radio", name="Attribute of the ad").check()
    page.locator("select[name=attribute]").select_option("gambling")
    page.get_by_role("button", name="Show what it would cost").click()
    expect(page.get_by_text("200 impressions (25.0%)")).to_be_visible()
    looks_right("block-cost")
    page.get_by_role("button", name="Block them").click()
    expect(page.get_by_text("is blocked within seconds")).to_be_visible()
    assert BlockRule.objects.get().value == "gambling"
    page.locator("select[name=place]").select_option(label="Newsroom · Article top")
    page.locator("input[name=country]").fill("DE")
    page.locator("input[name=floor]").fill("2.50")
    page.get_by_role("button", name="Set the floor").click()
    page.get_by_role("button", name="Remove Attribute of the ad: gambling").click()
    expect(page.get_by_role("button", name="Put back Attribute of the ad: gambling")).to_be_visible()
    looks_right("rules")
    page.get_by_role("button", name="Put back Attribute of the ad: gambling").click()
    expect(page.get_by_text("holds again within seconds")).to_be_visible()

    page.goto("/publisher/house-ads/")
    looks_right("house-empty")
    page.get_by_role("link", name="New house ad").first.click()
    page.locator("input[name=headline]").fill("Read us every day")
    page.locator("input[name=landing_url]").fill("https://news.example/subscribe")
    looks_right("house-edit")
    page.get_by_role("button", name="Save").click()
    assert HouseAd.objects.get().headline == "Read us every day"
    factories.fill_stat(
        slot, reason="outbid", instead=f"house:{HouseAd.objects.get().pk}", requests=40, hour=hour
    )
    factories.fill_stat(slot, reason="", requests=800, hour=hour)
    page.goto("/publisher/house-ads/")
    looks_right("house")
    page.goto("/publisher/variety/")
    looks_right("variety-empty")
    page.goto(f"/publisher/slots/{slot.public_id}/edit/")
    looks_right("slot-edit")
    page.goto(f"/publisher/sites/{slot.site.public_id}/")
    looks_right("site-edit")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_the_cost_of_variety_is_drawn(
    page: Page, sign_in: SignIn, shot: Shot, theme: str, width: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    owner = factories.member(factories.publisher(name="Newsroom Ltd"))
    slot = factories.slot(
        factories.site(owner.organisation, name="Newsroom", variety=0.25), name="Article top"
    )
    choices_of_visitors(slot, visitors=24, each=3)
    cache.clear()
    sign_in(owner.user)
    page.goto("/publisher/variety/")
    wait_for_charts(page)
    shot(f"publisher-variety-{theme}-{width}")
    assert (overflow(page), nameless(page)) == (0, [])
    expect(page.get_by_role("row", name="0.25 now")).to_be_visible()
