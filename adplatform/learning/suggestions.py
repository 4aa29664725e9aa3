"""Which category a site or campaign reads like, where it names none that the operator's graph knows. People decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db import transaction

from adplatform.campaigns.models import Campaign, Creative, Status
from adplatform.decision.rules import folded
from adplatform.inventory.models import Category, Site
from adplatform.learning import embeddings, registry
from adplatform.learning.models import CategorySuggestion
from adplatform.learning.publish import site_text
from ml.schema import Vectors

LEAST_COSINE = (
    0.25  # as between texts and what visitors did: below it they have nothing to do with each other
)
Kind = CategorySuggestion.Kind


@dataclass(frozen=True, slots=True)
class _Known:
    """Categories with a vector: names and rows in the same order."""

    names: Sequence[str]
    vectors: Vectors
    encoder: str


def compute(*, at: datetime, dry_run: bool = False) -> int:
    """Suggest anew; returns how many there are."""
    categories = list(Category.objects.all())
    encoder = registry.serving_encoder()
    vectors = embeddings.cached(encoder, [one.text for one in categories])
    has = embeddings.has_vector(vectors)
    known = _Known(
        [one.name for one, is_known in zip(categories, has, strict=True) if is_known], vectors[has], encoder
    )
    in_graph = {one.name for one in categories}
    found = [
        CategorySuggestion(kind=kind, object_id=pk, category=name, cosine=cosine, computed_at=at)
        for kind, things in ((Kind.CAMPAIGN, _campaigns(in_graph)), (Kind.SITE, _sites(in_graph)))
        for pk, texts in things.items()
        for name, cosine in _nearest(texts, known)
    ]
    if not dry_run:
        _store(found)
    return len(found)


def for_campaign(campaign: Campaign) -> CategorySuggestion | None:
    """What its advertiser is told beside the field, while the campaign names no known category."""
    if Category.objects.filter(name=folded(campaign.category)).exists():
        return None
    return CategorySuggestion.objects.filter(kind=Kind.CAMPAIGN, object_id=campaign.pk).first()


def for_site(site: Site) -> CategorySuggestion | None:
    """The same for its publisher."""
    if Category.objects.filter(name=folded(site.category)).exists():
        return None
    return CategorySuggestion.objects.filter(kind=Kind.SITE, object_id=site.pk).first()


def _campaigns(known: set[str]) -> Mapping[int, Sequence[str]]:
    """Texts of the ads of campaigns that name no known category."""
    texts: dict[int, list[str]] = defaultdict(list)
    rows = Creative.objects.exclude(status=Status.ARCHIVED).exclude(
        line_item__campaign__status=Status.ARCHIVED
    )
    for one in rows.select_related("line_item__campaign").order_by("pk"):
        campaign = one.line_item.campaign
        if folded(campaign.category) not in known:
            texts[campaign.pk].append(one.text)
    return texts


def _sites(known: set[str]) -> Mapping[int, Sequence[str]]:
    sites = Site.objects.filter(is_active=True).order_by("pk")
    return {site.pk: [site_text(site)] for site in sites if folded(site.category) not in known}


def _nearest(texts: Sequence[str], known: _Known) -> list[tuple[str, float]]:
    """The category nearest to the mean of these texts; none where they have no vector, or nothing is near."""
    vectors = embeddings.cached(known.encoder, list(dict.fromkeys(texts)))
    vectors = vectors[embeddings.has_vector(vectors)]
    if not len(vectors) or not known.names:
        return []
    mean = vectors.mean(axis=0)
    cosine = known.vectors @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    best = int(cosine.argmax())
    return [(known.names[best], round(float(cosine[best]), 3))] if cosine[best] >= LEAST_COSINE else []


@transaction.atomic
def _store(found: Sequence[CategorySuggestion]) -> None:
    CategorySuggestion.objects.all().delete()
    CategorySuggestion.objects.bulk_create(found)
