"""Every page of the portal in both themes and both widths: drawn, nothing refused, nothing wider than the window."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from adplatform.campaigns.models import Campaign, Creative, LineItem
from tests import factories as f
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow, wait_for_charts
from tests.browser.market import advertiser

pytestmark = [pytest.mark.browser, pytest.mark.long]


def _pages() -> dict[str, str]:
    campaign = Campaign.objects.get(name="Autumn running shoes")
    draft = Campaign.objects.get(name="Winter boots")
    line_item = LineItem.objects.get(campaign=campaign, name="Runners in Germany")
    rejected = Creative.objects.get(name="Spring is early")
    named = [
        "overview",
        "campaigns",
        "campaign_new",
        "creatives",
        "reports",
        "billing",
        "changes",
        "keys",
        "settings",
        "organisation_new",
    ]
    return {name: reverse(f"portal:{name}") for name in named} | {
        "campaign": reverse("portal:campaign", args=[campaign.public_id]),
        "campaign_edit": reverse("portal:campaign_edit", args=[campaign.public_id]),
        "line_item_edit": reverse("portal:line_item_edit", args=[line_item.public_id]),
        "creative_edit": reverse("portal:creative_edit", args=[rejected.public_id]),
        "setup_audience": reverse("portal:setup_audience", args=[draft.public_id]),
        "setup_review": reverse("portal:setup_review", args=[draft.public_id]),
        "account_email": reverse("account_email"),
        "account_password": reverse("account_change_password"),
        "mfa": reverse("mfa_index"),
    }


SIGNED_OUT = {
    "login": "/accounts/login/",
    "signup": "/accounts/signup/",
    "reset": "/accounts/password/reset/",
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_every_page(page: Page, sign_in: SignIn, shot: Shot, theme: str, width: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    for name, url in SIGNED_OUT.items():
        page.goto(url)
        shot(f"{name}-{theme}-{width}")
        assert overflow(page) == 0, name
        assert nameless(page) == [], name
    sign_in(advertiser().user)
    for name, url in _pages().items():
        page.goto(url)
        wait_for_charts(page)
        shot(f"{name}-{theme}-{width}")
        assert overflow(page) == 0, name
        assert nameless(page) == [], name


def test_the_first_day_and_the_refusals(page: Page, sign_in: SignIn, shot: Shot) -> None:
    """Pages without data, and pages that say no: each with a next step."""
    newcomer = f.member(f.organisation(name="Fresh"), role="analyst")
    campaign = f.campaign(newcomer.organisation)
    sign_in(newcomer.user)
    refusals = {"refused": f"/campaigns/{campaign.public_id}/edit/", "missing": "/campaigns/none/"}
    empty = {
        f"empty-{name}": f"/{name}/"
        for name in ("campaigns", "creatives", "reports", "billing", "changes", "keys")
    }
    for name, url in refusals.items():
        page.goto(url)
        shot(name)
        expect(page.get_by_role("link", name="Back to the start")).to_be_visible()
    campaign.delete()
    for name, url in (empty | {"empty-overview": "/overview/"}).items():
        page.goto(url)
        shot(name)
        assert nameless(page) == [], name
