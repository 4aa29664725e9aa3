"""Similar ads by exact cosines, benchmarks in which nobody is recognised, and categories that people are offered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from adplatform.campaigns.models import Creative
from adplatform.inventory.models import Category
from adplatform.jobs import registry as jobs
from adplatform.learning import benchmarks, embeddings, similar, suggestions
from adplatform.learning.models import CategoryBenchmark, CategorySuggestion, SimilarAds, TextVector
from ml.text.encoder import text_hash
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db
ENCODER = "test-encoder"


def vector(text: str, *numbers: float) -> None:
    """The encoder's vector of a text, in three dimensions."""
    row = np.array([numbers], np.float32)
    row /= np.linalg.norm(row)
    TextVector.objects.create(encoder=ENCODER, text_sha256=text_hash(text), vector=embeddings.pack(row)[0])


def ad(line_item: Any, headline: str, *numbers: float, **fields: Any) -> Creative:
    if numbers:
        vector(headline, *numbers)
    return factories.creative(line_item, headline=headline, body="", **fields)


def found(creative: Creative) -> SimilarAds:
    return SimilarAds.objects.get(pk=creative.pk)


def test_an_advertiser_gets_his_own_running_ads_of_other_line_items() -> None:
    own = factories.organisation()
    first, second = factories.line_item(factories.campaign(own)), factories.line_item(factories.campaign(own))
    shoes = ad(first, "Trail shoes", 1, 0, 0)
    ad(first, "Trail shoes for her", 1, 0.3, 0)  # of the same line item
    boots = ad(second, "Walking boots", 1, 0.5, 0)
    ad(second, "Trail shoes!", 1, 0.05, 0)  # nearly the same text
    ad(second, "Walking boots", width=728, height=90)  # the same text in another size
    ad(second, "Sandals", 1, 0.6, 0, status="paused")
    ad(second, "Soup", 0, 0, 1)
    rivals = ad(None, "Rival boots", 1, 0.4, 0)
    done = similar.compute(at=NOON)
    assert (done.compared, done.ads) == (8, 8)
    assert found(shoes).own == [[boots.pk, pytest.approx(0.894, abs=2e-3)]]
    # Whoever pays: boots, nearly-shoes and the rival's, of two advertisers.
    assert (found(shoes).running, found(shoes).advertisers) == (3, 2)
    assert rivals.pk not in [pk for pk, _cosine in similar.own_ads([found(shoes)])]


def test_an_operator_gets_those_with_a_verdict_rejected_ones_first() -> None:
    waiting = ad(None, "Win big tonight", 1, 0, 0, review="pending")
    good = ad(None, "Win a bicycle", 1, 0.2, 0, reviewed_at=NOON)
    bad = ad(None, "Win money now", 1, 0.6, 0, review="rejected", reviewed_at=NOON, review_note="Money claim")
    ad(None, "Win hearts", 1, 0.1, 0, review="pending")
    ad(None, "Soup", 0, 0, 1, review="rejected", reviewed_at=NOON)
    similar.compute(at=NOON)
    assert [pk for pk, _cosine in found(waiting).reviewed] == [bad.pk, good.pk]


def test_an_ad_without_a_vector_has_no_neighbours_and_nothing_is_done_twice() -> None:
    ad(None, "Trail shoes", 1, 0, 0)
    nameless = ad(None, "Неизвестно")
    later = NOON + timedelta(days=4_000)  # after the rows were written
    assert similar.compute(at=later).compared == 1
    assert not SimilarAds.objects.filter(pk=nameless.pk).exists()
    assert similar.compute(at=later + timedelta(minutes=10)).compared == 0
    assert similar.compute(at=later + timedelta(days=2)).compared == 1


# --- benchmarks -------------------------------------------------------------------------------------------------------


def shown(category: str, impressions: int, clicks: int) -> None:
    creative = factories.creative(factories.line_item(factories.campaign(category=category)))
    factories.hourly_stat(creative, hour=NOON - timedelta(days=2), impressions=impressions, clicks=clicks)


def test_a_benchmark_needs_six_advertisers_none_of_them_with_half() -> None:
    leisure = Category.objects.create(name="leisure")
    Category.objects.create(name="sports", parent=leisure)
    for _ in range(5):
        shown("Sports", 100, 2)
    assert benchmarks.compute(at=NOON) == 0
    shown("leisure", 100, 8)
    assert benchmarks.compute(at=NOON) == 2  # leisure with what lies below it, and all
    told = benchmarks.nearest("sports")
    assert told is not None
    assert (told.category, told.advertisers, told.impressions, told.clicks) == ("leisure", 6, 600, 18)
    shown("cars", 601, 0)
    benchmarks.compute(at=NOON)
    elsewhere = benchmarks.nearest("cars")
    assert elsewhere is None  # one advertiser has half of all
    assert CategoryBenchmark.objects.get().category == "leisure"


# --- suggestions ------------------------------------------------------------------------------------------------------


def test_a_category_is_suggested_only_where_none_is_known() -> None:
    for name, numbers in (("sports", (1, 0, 0)), ("food", (0, 0, 1))):
        Category.objects.create(name=name)
        vector(name, *numbers)
    nameless = factories.campaign(category="")
    ad(factories.line_item(nameless), "Trail shoes", 1, 0.2, 0)
    known = factories.campaign(category="Food")
    ad(factories.line_item(known), "Running soup", 1, 0.1, 0)
    far = factories.campaign(category="misc")
    ad(factories.line_item(far), "Nothing like it", 0, 1, 0)
    site = factories.site(description="Recipes")
    vector("Recipes", 0, 0.1, 1)
    assert suggestions.compute(at=NOON) == 2
    told = suggestions.for_campaign(nameless)
    assert told is not None
    assert (told.category, told.cosine) == ("sports", pytest.approx(0.981, abs=2e-3))
    assert suggestions.for_campaign(known) is None
    assert suggestions.for_campaign(far) is None
    of_site = suggestions.for_site(site)
    assert of_site is not None
    assert of_site.category == "food"
    nameless.refresh_from_db()
    assert nameless.category == ""
    nameless.category = "sports"
    assert suggestions.for_campaign(nameless) is None
    assert CategorySuggestion.objects.count() == 2


def test_the_job_says_what_it_did_and_a_dry_run_keeps_nothing() -> None:
    ad(None, "Trail shoes", 1, 0, 0)
    job = jobs.JOBS["find_similar"]
    arguments: dict[str, Any] = {"at": NOON, "slot": NOON, "progress": lambda *_: None}
    assert job.function(dry_run=True, **arguments).words.startswith("Would compare 1 of 1 ads")
    assert SimilarAds.objects.count() == 0
    assert job.function(dry_run=False, **arguments).counts["compared"] == 1
    assert SimilarAds.objects.count() == 1
