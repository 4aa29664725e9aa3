"""Ads like an advertiser's own: his own rows with their numbers, sums of the others, and never anybody else's row."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from adplatform.core import clock
from adplatform.inventory.models import Category
from adplatform.learning.models import CategoryBenchmark, CategorySuggestion, SimilarAds
from tests import factories as f
from tests.portal.conftest import Tenant

pytestmark = pytest.mark.django_db


def near(creative: Any, *own: Any, **fields: Any) -> SimilarAds:
    given = {"encoder": "e", "computed_at": clock.now(), "own": [[one.pk, 0.7] for one in own]}
    return SimilarAds.objects.create(creative_id=creative.pk, **given | fields)


def page(client: Client, name: str, thing: Any) -> str:
    return client.get(reverse(f"portal:{name}", args=[thing.public_id])).content.decode()


@pytest.fixture
def sibling(ours: Tenant) -> Any:
    """Another ad of the same advertiser, shown 400 times with 8 clicks."""
    ad = f.creative(f.line_item(f.campaign(ours.campaign.organisation, name="Autumn")), headline="Warm boots")
    f.hourly_stat(ad, hour=clock.now(), impressions=400, clicks=8)
    return ad


def test_the_pages_of_a_creative_and_its_line_item_list_own_ads_with_their_numbers(
    ours: Tenant, sibling: Any
) -> None:
    near(ours.creative, sibling)
    for name, thing in (("creative_edit", ours.creative), ("line_item_edit", ours.line_item)):
        said = page(ours.client, name, thing)
        assert "Ads like this one and how they do" in said
        assert "Warm boots" in said
        assert "Autumn" in said
        assert "400" in said
        assert "2.00%" in said or "2%" in said


def test_another_advertisers_ad_is_never_shown_whatever_is_stored(ours: Tenant, theirs: Tenant) -> None:
    f.hourly_stat(theirs.creative, hour=clock.now(), impressions=7_777, clicks=8)
    near(ours.creative, theirs.creative)
    said = page(ours.client, "creative_edit", ours.creative)
    assert theirs.creative.headline not in said
    assert "7,777" not in said
    assert "Nothing like it" in said
    assert (
        ours.client.get(reverse("portal:creative_edit", args=[theirs.creative.public_id])).status_code == 404
    )


def test_a_category_is_told_as_a_sum_or_as_the_one_above_it(ours: Tenant) -> None:
    Category.objects.create(name="shoes", parent=Category.objects.create(name="clothing"))
    ours.campaign.category = "Shoes"
    ours.campaign.save()
    CategoryBenchmark.objects.create(
        category="clothing",
        computed_at=clock.now(),
        advertisers=9,
        creatives=40,
        impressions=90_000,
        clicks=1_800,
    )
    near(ours.creative)
    said = page(ours.client, "creative_edit", ours.creative)
    assert "All ads of the category “clothing”" in said
    assert "9 advertisers" in said
    assert "90,000" in said


def test_before_the_first_comparison_it_says_what_will_come(ours: Tenant) -> None:
    assert "Not compared yet" in page(ours.client, "creative_edit", ours.creative)


def test_a_suggested_category_is_told_and_nothing_is_changed(ours: Tenant, theirs: Tenant) -> None:
    ours.campaign.category = ""
    ours.campaign.save()
    for tenant, category in ((ours, "travel"), (theirs, "banking")):
        CategorySuggestion.objects.create(
            kind="campaign",
            object_id=tenant.campaign.pk,
            category=category,
            cosine=0.5,
            computed_at=clock.now(),
        )
    said = page(ours.client, "campaign_edit", ours.campaign)
    assert "Its ads read like “travel”" in said
    assert "banking" not in said
    ours.campaign.refresh_from_db()
    assert ours.campaign.category == ""
