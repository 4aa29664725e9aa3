"""Vectors for creatives, sites and visitors: what the two embedding jobs do.

A profile is rebuilt only where its visitor did something new, refused, or was forgotten. It goes to PostgreSQL and,
as field `u`, to Valkey, where a request finds it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Q

from adplatform.campaigns.models import Creative, Status
from adplatform.inventory.models import Category, Site
from adplatform.jobs.registry import Progress
from adplatform.learning import embeddings, export, history, live
from adplatform.learning.models import VisitorVector
from adplatform.learning.publish import site_text
from adplatform.learning.statistics import PROFILE, PROFILE_ENCODER, VISITOR_SECONDS, visitor_key
from ml.schema import Vectors

CHUNK = 5_000  # visitors whose acts are read at once
WRITE_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Embedded:
    """`encoded` texts were new; `foreign` creatives are in a language that the encoder does not speak."""

    encoded: int
    foreign: int
    texts: int


@dataclass(frozen=True, slots=True)
class Profiled:
    """`updated` profiles were new or had something new, `removed` belong to who refused or was forgotten."""

    updated: int
    removed: int
    visitors: int


def half_life_seconds() -> float:
    return settings.PROFILE_HALF_LIFE_DAYS * history.DAY_SECONDS


def embed_creatives(at: datetime, *, dry_run: bool = False) -> Embedded:  # noqa: ARG001 - jobs act for a moment
    """Encode the texts of creatives that may serve, of sites and of categories, that have no vector yet."""
    model = embeddings.encoder()
    creatives = Creative.objects.exclude(
        Q(status=Status.ARCHIVED)
        | Q(line_item__status=Status.ARCHIVED)
        | Q(line_item__campaign__status=Status.ARCHIVED)
    )
    texts, foreign = [], 0
    for one in creatives.iterator():
        if embeddings.is_foreign(one.language, own=model.language) or not model.speaks(one.text):
            foreign += 1
        else:
            texts.append(one.text)
    texts += [site_text(site) for site in Site.objects.filter(is_active=True)]
    texts += [category.text for category in Category.objects.all()]
    encoded = len(embeddings.missing(texts)) if dry_run else embeddings.ensure(texts)
    return Embedded(encoded=encoded, foreign=foreign, texts=len(set(texts)))


def embed_visitors(at: datetime, progress: Progress | None = None, *, dry_run: bool = False) -> Profiled:
    """Rebuild the profiles of consenting visitors who did something since, from what they did before `at`."""
    encoder_id = embeddings.encoder().id
    acts_now = export.acts_by_visitor(until=at)
    stored = dict(VisitorVector.objects.filter(encoder=encoder_id).values_list("visitor", "behaviours"))
    changed = sorted(visitor for visitor, acts in acts_now.items() if stored.get(visitor) != acts)
    gone = VisitorVector.objects.exclude(visitor__in=acts_now).values_list("visitor", flat=True).distinct()
    if dry_run:
        return Profiled(updated=len(changed), removed=len(gone), visitors=len(acts_now))
    for start in range(0, len(changed), CHUNK):
        _update(changed[start : start + CHUNK], acts_now, at=at, encoder_id=encoder_id)
        if progress:
            progress(min(start + CHUNK, len(changed)), len(changed))
    removed = forget(list(gone))
    return Profiled(updated=len(changed), removed=removed, visitors=len(acts_now))


def forget(visitors: Collection[str]) -> int:
    """Remove these visitors' profiles, here and from serving; returns how many had one."""
    if not visitors:
        return 0
    VisitorVector.objects.filter(visitor__in=visitors).delete()
    pipeline = live.connect().pipeline(transaction=False)
    for visitor in visitors:
        pipeline.hdel(visitor_key(visitor), PROFILE, PROFILE_ENCODER)
    pipeline.execute()
    return len(visitors)


def _update(visitors: Sequence[str], acts_now: dict[str, int], *, at: datetime, encoder_id: str) -> None:
    """Profiles of these visitors. One whose acts are all in a foreign language gets none."""
    done = export.acts(until=at, visitors=visitors)
    vectors = embeddings.vectors(done.texts)
    trace = done.trace.spoken(embeddings.has_vector(vectors))
    last = history.last_states(trace)
    profiles = history.profiles(trace, vectors, last, half_life_seconds=half_life_seconds())
    names = [done.names[code] for code in trace.visitor[last].tolist()]
    _store(names, profiles, acts_now, at=at, encoder_id=encoder_id)
    _serve(names, profiles, encoder_id)


def _store(
    names: list[str], profiles: Vectors, acts_now: dict[str, int], *, at: datetime, encoder_id: str
) -> None:
    VisitorVector.objects.bulk_create(
        [
            VisitorVector(
                visitor=name, encoder=encoder_id, vector=packed, behaviours=acts_now[name], computed_at=at
            )
            for name, packed in zip(names, embeddings.pack(profiles), strict=True)
        ],
        batch_size=WRITE_BATCH,
        update_conflicts=True,
        unique_fields=["visitor", "encoder"],
        update_fields=["vector", "behaviours", "computed_at"],
    )


def _serve(names: list[str], profiles: Vectors, encoder_id: str) -> None:
    client = live.connect()
    packed = embeddings.pack(profiles)
    for start in range(0, len(names), WRITE_BATCH):
        pipeline = client.pipeline(transaction=False)
        for name, vector in zip(
            names[start : start + WRITE_BATCH], packed[start : start + WRITE_BATCH], strict=True
        ):
            pipeline.hset(visitor_key(name), mapping={PROFILE: vector, PROFILE_ENCODER: encoder_id})
            pipeline.expire(visitor_key(name), VISITOR_SECONDS)
        pipeline.execute()
