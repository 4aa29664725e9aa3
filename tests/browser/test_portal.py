"""What an advertiser does in a day, in a real browser. A refusal by the Content-Security-Policy fails every test here."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from adplatform.campaigns.models import Campaign, Status
from tests import factories as f
from tests.browser.conftest import NARROW, Shot, SignIn, overflow, wait_for_charts
from tests.browser.market import advertiser

pytestmark = pytest.mark.browser


def test_signing_in_by_the_form(page: Page) -> None:
    membership = f.member(f.organisation(name="Cascade Outdoor"))
    page.goto("/")
    page.get_by_label("Email").fill(membership.user.email)
    page.get_by_label("Password").fill(f.PASSWORD)
    page.get_by_role("button", name="Sign In", exact=True).click()

    expect(page).to_have_url(re.compile("/overview/$"))
    expect(page.get_by_text("Make your first campaign")).to_be_visible()


def test_a_campaign_is_built_launched_and_paused(page: Page, sign_in: SignIn, shot: Shot) -> None:
    sign_in(f.member(f.organisation(name="Cascade Outdoor")).user)
    page.goto("/campaigns/new/")
    page.get_by_role("button", name="Continue to audience").click()
    expect(page.get_by_text("This field is required.").first).to_be_visible()
    shot("wizard-errors")

    page.get_by_label("Campaign name").fill("Winter boots")
    page.get_by_label("Daily budget").fill("120")
    page.get_by_role("radio", name="Target ROAS").check()
    expect(page.get_by_label("Wanted return on ad spend")).to_be_visible()
    page.get_by_role("radio", name="Manual CPC").check()
    expect(page.get_by_label("Wanted return on ad spend")).to_be_hidden()
    page.get_by_role("button", name="Continue to audience").click()

    page.get_by_label("Most for a click").fill("0.45")
    page.get_by_label("Countries").fill("DE, AT")
    page.get_by_role("button", name="Continue to creative").click()

    page.get_by_label("Headline").fill("Warm to minus twenty")
    expect(page.locator("#preview-headline")).to_have_text("Warm to minus twenty")
    page.get_by_label("Landing page").fill("https://boots.example/winter")
    shot("wizard-creative")
    page.get_by_role("button", name="Continue to review").click()
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_text("In review").first).to_be_visible()
    wait_for_charts(page)

    page.get_by_role("button", name="Pause", exact=True).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Pause “Winter boots”?")
    shot("pause-asked")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert Campaign.objects.get().status == Status.ACTIVE
    page.get_by_role("button", name="Pause", exact=True).first.click()
    dialog.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume").first).to_be_visible()
    assert Campaign.objects.get().status == Status.PAUSED


def test_the_overview_draws_its_chart_in_both_themes(page: Page, sign_in: SignIn) -> None:
    sign_in(advertiser().user)
    page.goto("/overview/")
    wait_for_charts(page)
    light = page.locator("#roi .bars path").first.evaluate("bar => getComputedStyle(bar).fill")

    page.get_by_role("button", name="Switch light or dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.wait_for_timeout(300)
    dark = page.locator("#roi .bars path").first.evaluate("bar => getComputedStyle(bar).fill")
    assert light != dark
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")

    page.locator("#roi").focus()
    page.keyboard.press("End")
    expect(page.locator("#roi-live")).to_contain_text("Spend")
    page.get_by_role("button", name=re.compile("explain the status of Weekend sale")).click()
    expect(page.get_by_text("Today's budget of $80.00 is spent.").last).to_be_visible()


def test_a_phone_shows_everything_within_its_width(page: Page, sign_in: SignIn, shot: Shot) -> None:
    page.set_viewport_size(NARROW)
    sign_in(advertiser().user)
    for url in ("/overview/", "/campaigns/new/", "/reports/"):
        page.goto(url)
        assert overflow(page) == 0, url
    menu = page.get_by_role("button", name="Open menu")
    menu.click()
    expect(page.get_by_role("link", name="Billing")).to_be_visible()
    shot("menu-narrow")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Billing")).to_be_hidden()
    expect(menu).to_be_focused()


def test_a_key_is_copied_once(page: Page, sign_in: SignIn, shot: Shot) -> None:
    sign_in(f.member().user)
    page.goto("/keys/")
    page.get_by_label("What is it for?").fill("Web shop")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#secret")).to_have_text(re.compile(r"^adp_[0-9a-f]{8}\.\S{43}$"))
    shot("key-made")
    page.goto("/keys/")
    expect(page.locator("#secret")).to_have_count(0)
