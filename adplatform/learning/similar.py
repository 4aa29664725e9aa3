"""Ads that read like an ad: exact cosines of the encoder's vectors, all against all, kept by a job.

An advertiser is shown his own ads only, an operator those with a verdict, and a visitor numbers. The same text in
another size counts once, and what is nearly the same text is not "similar" but the same ad.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db import transaction
from django.db.models import Max, Min

from adplatform.campaigns.models import Campaign, Creative, LineItem, Status
from adplatform.learning import embeddings, picks, registry
from adplatform.learning.models import SimilarAds, TextVector
from ml.schema import Column, Ints, Mask, Vectors

LEAST_COSINE = (
    0.3  # of MiniLM: below it, ads of other line items have little in common (1 pair in 20 of the demo's)
)
DUPLICATE = 0.97
MOST = 5
OLDEST = timedelta(days=1)  # flights begin and end without anybody changing a row
BLOCK = 512  # rows of the cosine matrix at once
Review = Creative.Review


@dataclass(frozen=True, slots=True)
class Compared:
    """How many ads have a vector and were compared (none where nothing had changed), of how many."""

    compared: int
    ads: int


@dataclass(frozen=True)
class _Ads:
    """The ads with a vector, as columns; `text` numbers different texts."""

    pk: Sequence[int]
    V: Vectors
    text: Ints
    line_item: Ints
    advertiser: Ints
    is_running: Mask
    verdict: Column


def compute(*, at: datetime, dry_run: bool = False) -> Compared:
    """Compare every ad that is not archived with every other, unless nothing changed since the last time."""
    rows = list(
        Creative.objects.exclude(status=Status.ARCHIVED).select_related("line_item__campaign").order_by("pk")
    )
    if _is_current(at):
        return Compared(0, len(rows))
    encoder = registry.serving_encoder()
    vectors = embeddings.cached(encoder, [one.text for one in rows])
    has = embeddings.has_vector(vectors)
    ads = _columns([one for one, known in zip(rows, has, strict=True) if known], vectors[has], at)
    if not dry_run:
        found = [
            SimilarAds(creative_id=ads.pk[row], encoder=encoder, computed_at=at, **_near(ads, row, cosine))
            for row, cosine in _cosines(ads.V)
        ]
        _store(found)
    return Compared(len(ads.pk), len(rows))


def _is_current(at: datetime) -> bool:
    """Whether no text, verdict or state of an ad changed since the last comparison of this day."""
    last = SimilarAds.objects.aggregate(at=Min("computed_at"))["at"]
    if last is None or last < at - OLDEST:
        return False
    changed = [
        model.objects.aggregate(at=Max("updated_at"))["at"] for model in (Creative, LineItem, Campaign)
    ]
    changed.append(TextVector.objects.aggregate(at=Max("created_at"))["at"])
    return all(one is None or one < last for one in changed)


def of(creative_ids: Sequence[int]) -> dict[int, SimilarAds]:
    """What was last found for these ads."""
    return SimilarAds.objects.in_bulk(list(creative_ids))


def own_ads(found: Sequence[SimilarAds]) -> list[tuple[int, float]]:
    """(creative, cosine) of the advertiser's own ads that are like any of these, the nearest first."""
    best: dict[int, float] = {}
    for one in found:
        for pk, cosine in one.own:
            best[pk] = max(cosine, best.get(pk, 0.0))
    return sorted(best.items(), key=lambda pair: -pair[1])[:MOST]


def _columns(rows: Sequence[Creative], vectors: Vectors, at: datetime) -> _Ads:
    running = {one.pk for one in picks.servable(at)}
    texts = {text: number for number, text in enumerate(dict.fromkeys(one.text for one in rows))}
    return _Ads(
        pk=[one.pk for one in rows],
        V=vectors,
        text=np.array([texts[one.text] for one in rows], np.int64),
        line_item=np.array([one.line_item_id for one in rows], np.int64),
        advertiser=np.array([one.line_item.campaign.organisation_id for one in rows], np.int64),
        is_running=np.array([one.pk in running for one in rows], np.bool_),
        verdict=np.array([one.review if one.reviewed_at else "" for one in rows], dtype=str),
    )


def _cosines(vectors: Vectors) -> Iterator[tuple[int, Vectors]]:
    """(row, its cosine with every row), computed by blocks of rows."""
    for start in range(0, len(vectors), BLOCK):
        for offset, cosine in enumerate(vectors[start : start + BLOCK] @ vectors.T):
            yield start + offset, cosine


def _near(ads: _Ads, row: int, cosine: Vectors) -> dict[str, object]:
    elsewhere = ads.line_item != ads.line_item[row]
    alike = cosine >= LEAST_COSINE
    mine = ads.advertiser == ads.advertiser[row]
    running = ads.is_running & elsewhere & alike
    others = np.arange(len(cosine)) != row
    return {
        "own": _best(ads, cosine, running & mine & (cosine < DUPLICATE)),
        "reviewed": [
            pair
            for state in (Review.REJECTED, Review.APPROVED)
            for pair in _best(ads, cosine, alike & others & (ads.verdict == state), most=3)
        ],
        "running": len(set(zip(ads.line_item[running].tolist(), ads.text[running].tolist(), strict=True))),
        "advertisers": len(np.unique(ads.advertiser[running])),
    }


def _best(ads: _Ads, cosine: Vectors, kept: Mask, *, most: int = MOST) -> list[tuple[int, float]]:
    """The nearest of these rows, each text once."""
    rows = np.flatnonzero(kept)
    best: dict[int, tuple[int, float]] = {}
    for row in rows[np.argsort(-cosine[rows], kind="stable")].tolist():
        best.setdefault(int(ads.text[row]), (ads.pk[row], round(float(cosine[row]), 3)))
        if len(best) == most:
            break
    return list(best.values())


@transaction.atomic
def _store(found: Sequence[SimilarAds]) -> None:
    SimilarAds.objects.all().delete()
    SimilarAds.objects.bulk_create(found, batch_size=2_000)
