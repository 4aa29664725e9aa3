"""Similar ads as an advertiser, a reviewer and a telephone show them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from adplatform.core import clock
from adplatform.learning.models import SimilarAds
from tests import factories
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_similar_ads(page: Page, sign_in: SignIn, shot: Shot, theme: str, width: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    owner = factories.member()
    campaign = factories.campaign(owner.organisation)
    shoes = factories.creative(
        factories.line_item(campaign), headline="Trail shoes that grip", review="pending"
    )
    boots = factories.creative(factories.line_item(campaign), headline="Warm boots for wet days")
    refused = factories.creative(
        headline="Shoes for nothing",
        review="rejected",
        reviewed_at=clock.now(),
        review_note="It is not free.",
    )
    factories.hourly_stat(boots, hour=clock.now(), impressions=400, clicks=8)
    SimilarAds.objects.create(
        creative_id=shoes.pk,
        encoder="e",
        computed_at=clock.now(),
        own=[[boots.pk, 0.71]],
        reviewed=[[refused.pk, 0.64]],
    )
    sign_in(owner.user)
    page.goto(f"/creatives/{shoes.public_id}/edit/")
    expect(page.get_by_role("region", name="Ads like this one and how they do").last).to_contain_text(
        "Warm boots"
    )
    shot(f"portal-similar-{theme}-{width}")
    assert (overflow(page), nameless(page)) == (0, [])
    sign_in(factories.operator())
    page.goto("/console/review/")
    expect(page.get_by_text("“Shoes for nothing”")).to_be_visible()  # a rejected neighbour is open at once
    shot(f"console-review-similar-{theme}-{width}")
    assert (overflow(page), nameless(page)) == (0, [])
