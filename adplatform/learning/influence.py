"""Why people see a line item's ads, for its advertiser: mean contributions over a sample of its newest decisions.

Nobody is singled out: contributions are means over at least FEWEST_DECISIONS, what visitors had done before is told
only where at least FEWEST_VISITORS different ones had done it, and what pages were about from FEWEST_DECISIONS
impressions on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np

from adplatform.campaigns.models import Creative
from adplatform.decision.targeting import word
from adplatform.events.models import AdDecision, Click, Impression
from adplatform.events.validity import COUNTED
from adplatform.jobs.registry import Progress
from adplatform.learning import embeddings, explain, export, registry
from adplatform.learning.models import Influence
from ml.ctr.blender import Blender
from ml.ctr.explain import contributions
from ml.schema import Vectors

LOOKBACK = timedelta(days=7)
SAMPLE = 200  # decisions of a line item: about a second of work
FEWEST_DECISIONS = 50
FEWEST_VISITORS = 50
MOST_VISITORS = 2_000
MOST_TOPICS = 5
MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class Computed:
    """How many line items were looked at, and how many of them had enough decisions to tell."""

    line_items: int
    told: int


def compute(*, at: datetime, progress: Progress | None = None, dry_run: bool = False) -> Computed:
    """Every line item that was shown within the last week, by the trees that serve now."""
    name = registry.served_versions()["blender"]
    blender = explain.blender_of({"blender": name})
    since = at - LOOKBACK
    line_items: Any = list(
        AdDecision.objects.filter(served_at__gte=since, served_at__lt=at, line_item_id__isnull=False)
        .order_by("line_item_id")
        .values_list("line_item_id", "campaign_id")
        .distinct()
    )
    if dry_run or blender is None:
        return Computed(len(line_items), 0)
    # What an earlier version of the same features saw, the present trees read as well: a new champion need not wait.
    readable = registry.of_one_schema(name)
    told = 0
    for number, (line_item_id, campaign_id) in enumerate(line_items, start=1):
        sample = AdDecision.objects.filter(
            campaign_id=campaign_id, line_item_id=line_item_id, served_at__gte=since, served_at__lt=at
        )
        newest = list(sample.order_by("-served_at")[:MOST_VISITORS])
        told += _tell(line_item_id, newest, blender=blender, name=name, readable=readable, at=at)
        if progress:
            progress(number, len(line_items))
    return Computed(len(line_items), told)


def _tell(
    line_item_id: int,
    decisions: Sequence[AdDecision],
    *,
    blender: Blender,
    name: str,
    readable: Container[str],
    at: datetime,
) -> bool:
    sample = [one for one in decisions if one.versions.get("blender") in readable][:SAMPLE]
    rows = explain.matrix(sample, blender)
    if rows is None or len(sample) < FEWEST_DECISIONS:
        return False
    parts = contributions(blender, rows).by_group()
    visitors = {one.visitor for one in decisions if one.visitor}
    Influence.objects.update_or_create(
        line_item_id=line_item_id,
        defaults={
            "computed_at": at,
            "decisions": len(sample),
            "visitors": len(visitors),
            "blender": name,
            "groups": {
                group: {
                    "mean": round(float(column.mean()), 4),
                    "size": round(float(np.abs(column).mean()), 4),
                }
                for group, column in parts.items()
            },
            "topics": topics(decisions, at=at),
            "page_words": page_words(decisions),
        },
    )
    return True


def topics(decisions: Sequence[AdDecision], *, at: datetime) -> list[tuple[str, int]]:
    """What these visitors had done that is most like the ad they saw, by how many of them; never by fewer than
    FEWEST_VISITORS."""
    creative_of = {one.visitor: one.creative_id for one in decisions if one.visitor}
    if len(creative_of) < FEWEST_VISITORS:
        return []
    done = export.acts(until=at, visitors=sorted(creative_of))
    ads = {one.pk: one.text for one in Creative.objects.filter(pk__in=set(creative_of.values()))}
    encoder = registry.serving_encoder()
    texts = embeddings.cached(encoder, done.texts)
    vectors = dict(zip(ads, embeddings.cached(encoder, list(ads.values())), strict=True))
    votes: Counter[str] = Counter()
    wanted = np.ones(len(done.trace), np.bool_) if done.trace.weight is None else done.trace.weight > 0
    pairs = zip(done.trace.visitor[wanted].tolist(), done.trace.text[wanted].tolist(), strict=True)
    for code, acts in groupby(pairs, key=lambda pair: pair[0]):
        ad = vectors.get(creative_of[done.names[code]] or 0)
        if ad is not None:
            votes.update(_nearest(ad, texts, {text for _, text in acts}, done.texts))
    return [(text, count) for text, count in votes.most_common(MOST_TOPICS) if count >= FEWEST_VISITORS]


def page_words(decisions: Sequence[AdDecision]) -> list[tuple[str, int, int]]:
    """(word, impressions, clicks) of what the pages said they were about, the most frequent first."""
    words_of = {
        one.decision_id: {word(said) for said in one.keywords.split(", ")}
        for one in decisions
        if one.keywords
    }
    shown = _counted(Impression, words_of)
    clicked = _counted(Click, words_of)
    told = [(said, n, clicked[said]) for said, n in shown.most_common() if n >= FEWEST_DECISIONS]
    return told[:MOST_WORDS]


def _counted(kind: type[Impression | Click], words_of: Mapping[UUID, Iterable[str]]) -> Counter[str]:
    """How many valid events of these decisions each word has."""
    rows = kind.objects.filter(decision_id__in=list(words_of), reason__in=COUNTED)
    return Counter(said for pk in rows.values_list("pk", flat=True) for said in words_of[pk])


def _nearest(ad: Vectors, texts: Vectors, rows: Iterable[int], words: Sequence[str]) -> list[str]:
    """The texts of one visitor that are most like the ad."""
    own = sorted(rows)
    order, _ = explain.ranked(np.vstack([ad[None], texts[own]]))
    return [words[own[row]] for row in order[: explain.NEAREST]]


def stored(line_item_ids: Sequence[int]) -> dict[int, Influence]:
    """What was last told of these line items."""
    return {one.line_item_id: one for one in Influence.objects.filter(line_item_id__in=line_item_ids)}
