"""The main job's arithmetic: the ten best ads for each of many visitors at once.

The transformer retrieves (uᵀWv over every ad that may serve; where they proved to add to it, together with the
classical engines), the blender ranks what was retrieved, in the context of the ad slot of the ad's size that is seen
most, on a device that is not known. The numbers are those of a request
(learning.scorer), only many at a time; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Q

from adplatform.campaigns.models import Creative, Status
from adplatform.inventory.models import AdSlot
from adplatform.learning import context, embeddings, engines, live, registry
from adplatform.learning.models import VisitorVector
from adplatform.learning.publish import SIMILARITY_WEIGHT, site_text
from adplatform.learning.scorer import prior_ctr
from adplatform.learning.statistics import (
    REMEMBERED,
    LiveStatistics,
    frequency_field,
    of_ads,
    of_visitor,
    visitor_key,
)
from ml.ctr import features
from ml.ctr.runtime import CompiledBlender
from ml.schema import Column, Floats, Ints, Mask, Vectors

TOP = 10
ROWS_AT_ONCE = 65_536
SERVED_SOURCES = ("live", "demo")


@dataclass(frozen=True)
class Library:
    """All ads that may serve, their slots and the models: the same for every visitor of a run.

    `projected` holds Wv, zeros where a text has no vector; `place` is the ad's typical slot as a row of `slots`.
    """

    ids: Mapping[str, Ints]  # by ml.ctr.counters.ADS
    projected: Vectors
    has_vector: Mask
    bias: float
    text_weight: float
    place: Ints
    slots: list[AdSlot]
    site_vectors: Vectors
    statistics: LiveStatistics
    blender: CompiledBlender | None
    encoder: str
    versions: dict[str, str]
    texts: tuple[str, ...] = ()
    sources: engines.Sources | None = None
    item: Ints | None = None  # of the engines, by ad

    def __len__(self) -> int:
        return len(self.creative)

    @property
    def creative(self) -> Ints:
        return self.ids["creative"]


@dataclass(frozen=True)
class Best:
    """One row per visitor, best first: positions in the library, text scores (NaN: none), click probabilities."""

    ad: Ints
    text: Floats
    pctr: Floats


def servable(at: datetime) -> list[Creative]:
    """Approved ads of running line items and campaigns."""
    campaign = "line_item__campaign__"
    rows = Creative.objects.filter(
        Q(**{f"{campaign}end_at__isnull": True}) | Q(**{f"{campaign}end_at__gt": at}),
        status=Status.ACTIVE,
        review=Creative.Review.APPROVED,
        line_item__status=Status.ACTIVE,
        **{
            f"{campaign}status": Status.ACTIVE,
            f"{campaign}start_at__lte": at,
            f"{campaign}source__in": SERVED_SOURCES,
            f"{campaign}organisation__is_active": True,
        },
    )
    return list(
        rows.select_related("line_item__campaign")
        .only(
            *("pk", "headline", "body", "format", "width", "height"),
            *("line_item__campaign_id", "line_item__campaign__organisation_id"),
        )
        .order_by("pk")
    )


def library(at: datetime) -> Library:
    """Read everything once. Without an active slot, or without ads, it is empty."""
    creatives, slots = servable(at), list(AdSlot.objects.filter(is_active=True).select_related("site"))
    creatives = creatives if slots else []
    statistics = LiveStatistics()
    statistics.refresh(live.connect())
    matcher, blender = registry.champion(registry.Kind.MATCHER), registry.champion(registry.Kind.BLENDER)
    loaded = registry.load_matcher(matcher) if matcher else None
    encoder = registry.serving_encoder()
    sources = engines.serving(encoder)
    V = embeddings.cached(encoder, [one.text for one in creatives])
    known = embeddings.has_vector(V)
    V = np.where(known[:, None], V, np.float32(0))
    return Library(
        ids={
            "creative": np.array([one.pk for one in creatives], np.int64),
            "line_item": np.array([one.line_item_id for one in creatives], np.int64),
            "campaign": np.array([one.line_item.campaign_id for one in creatives], np.int64),
            "advertiser": np.array([one.line_item.campaign.organisation_id for one in creatives], np.int64),
        },
        projected=loaded.project(V) if loaded else V,
        has_vector=known,
        bias=loaded.bias if loaded else 0.0,
        text_weight=1.0 if loaded else SIMILARITY_WEIGHT,
        place=_places(creatives, slots, statistics),
        slots=slots,
        site_vectors=embeddings.cached(encoder, [site_text(slot.site) for slot in slots]),
        statistics=statistics,
        blender=registry.load_blender(blender) if blender else None,
        encoder=encoder,
        versions=registry.served_versions() | ({"engines": sources.name} if sources else {}),
        texts=tuple(one.text for one in creatives),
        sources=sources,
        item=sources.fitted.codes([one.text for one in creatives]) if sources else None,
    )


@dataclass(frozen=True)
class Asked:
    """Visitors, one row each: what Valkey knows of them, text scores of all ads, the positions that were retrieved."""

    known: Sequence[Mapping[bytes, bytes]]
    has_profile: Mask
    text: Floats
    chosen: Ints

    def part(self, start: int, end: int) -> Asked:
        """Rows start to end."""
        rows = slice(start, end)
        return Asked(self.known[rows], self.has_profile[rows], self.text[rows], self.chosen[rows])


def best(shelf: Library, visitors: Sequence[str], *, at: datetime) -> Best:
    """The ads of highest click probability for each of these visitors."""
    U, has_profile = _profiles(shelf, visitors)
    text = _text_scores(shelf, U, has_profile)
    chosen = retrieve(_candidate_scores(shelf, visitors, text, at), settings.RANKED_CANDIDATES)
    pctr = _click_probabilities(shelf, Asked(_visitor_numbers(visitors), has_profile, text, chosen), at)
    order = np.argsort(-pctr, axis=1, kind="stable")[:, :TOP]
    ad = np.take_along_axis(chosen, order, axis=1)
    return Best(ad, np.take_along_axis(text, ad, axis=1), np.take_along_axis(pctr, order, axis=1))


def retrieve(scores: Column, k: int) -> Ints:
    """Positions of the k highest scores of each row; an ad without a score stands where the row's mean is."""
    if scores.shape[1] <= k:
        return np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    found: Ints = np.argpartition(-_filled(scores), k, axis=1)[:, :k].astype(np.int64)
    return np.sort(found, axis=1)


def _candidate_scores(shelf: Library, visitors: Sequence[str], text: Floats, at: datetime) -> Column:
    """What decides who is retrieved: the transformer's scores, blended with the engines' where those are used."""
    if shelf.sources is None or shelf.item is None or text.shape[1] <= settings.RANKED_CANDIDATES:
        return text
    return shelf.sources.order(_filled(text), visitors, shelf.item, at)


def _filled(scores: Column) -> Column:
    known = ~np.isnan(scores)
    mean = np.where(known, scores, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known, scores, mean[:, None])


def device() -> tuple[str, str]:
    """(device, dtype) of the matrix product. Looks for a GPU without loading torch, which a CPU does not need."""
    if Path("/dev/nvidiactl").exists():
        import torch

        if torch.cuda.is_available():
            return "cuda", "float32"
    return "cpu", "float32"


def _product(U: Vectors, P: Vectors) -> Vectors:
    if device()[0] == "cpu":
        return U @ P.T
    import torch

    with torch.inference_mode():
        product: Vectors = (torch.from_numpy(U).cuda() @ torch.from_numpy(P).cuda().T).cpu().numpy()
    return product


def _profiles(shelf: Library, visitors: Sequence[str]) -> tuple[Vectors, Mask]:
    stored = VisitorVector.objects.filter(encoder=shelf.encoder, visitor__in=visitors)
    packed = {visitor: bytes(vector) for visitor, vector in stored.values_list("visitor", "vector")}
    has = np.array([visitor in packed for visitor in visitors], np.bool_)
    U = np.zeros((len(visitors), shelf.projected.shape[1]), np.float32)
    if has.any():
        U[has] = embeddings.unpack([packed[visitor] for visitor in visitors if visitor in packed])
    return U, has


def _text_scores(shelf: Library, U: Vectors, has_profile: Mask) -> Floats:
    """Every visitor with every ad; without a profile the site of the ad's typical slot speaks."""
    text = _product(U, shelf.projected).astype(np.float64)
    if not has_profile.all():
        of_site = np.einsum("nd,nd->n", shelf.site_vectors[shelf.place], shelf.projected).astype(np.float64)
        text[~has_profile] = of_site
    text += shelf.bias
    text[:, ~shelf.has_vector] = np.nan
    return text


def _click_probabilities(shelf: Library, asked: Asked, at: datetime) -> Floats:
    count, k = asked.chosen.shape
    out = np.empty((count, k))
    step = max(1, ROWS_AT_ONCE // max(k, 1))
    for start in range(0, count, step):
        raw = _raw(shelf, asked.part(start, start + step), at)
        if shelf.blender is not None:
            pctr = shelf.blender.predict(
                features.build(raw), **_segments(shelf, asked.chosen[start : start + step])
            )
        else:
            pctr = prior_ctr(raw, text_weight=shelf.text_weight)
        out[start : start + step] = pctr.reshape(-1, k)
    return out


def _segments(shelf: Library, chosen: Ints) -> dict[str, Ints]:
    """Campaign and slot of each (visitor, chosen ad), row after row."""
    slots = np.array([slot.pk for slot in shelf.slots], np.int64)
    ad = chosen.ravel()
    return {"campaign": shelf.ids["campaign"][ad], "slot": slots[shelf.place[ad]]}


def _visitor_numbers(visitors: Sequence[str]) -> list[Mapping[bytes, bytes]]:
    pipeline = live.connect().pipeline(transaction=False)
    for visitor in visitors:
        pipeline.hgetall(visitor_key(visitor))
    answers: list[Mapping[bytes, bytes]] = pipeline.execute()
    return answers


def _raw(shelf: Library, asked: Asked, at: datetime) -> dict[str, Any]:
    """ml.ctr.features.RAW for each (visitor, chosen ad), row after row."""
    view, k, ad = shelf.statistics.view, asked.chosen.shape[1], asked.chosen.ravel()
    of_levels = {name: getattr(view, name).at(ids[ad]) for name, ids in shelf.ids.items()}
    slot = view.slot.at(np.array([one.pk for one in shelf.slots], np.int64))
    site = view.site.at(np.array([one.site_id for one in shelf.slots], np.int64))
    now = at.timestamp()
    place = shelf.place[ad]
    fields = [frequency_field(number) for number in shelf.ids["line_item"].tolist()]
    frequency = [
        float(numbers.get(fields[one], 0))
        for numbers, row in zip(asked.known, asked.chosen.tolist(), strict=True)
        for one in row
    ]

    visitors = [of_visitor(numbers, now) for numbers in asked.known]
    return {
        "text_score": np.take_along_axis(asked.text, asked.chosen, axis=1).ravel(),
        "global_impressions": view.overall[0],
        "global_clicks": view.overall[1],
        "global_expected": view.overall[2],
        **of_ads(of_levels, faded={name: getattr(view, name).fading(now) for name in REMEMBERED}),
        "slot_impressions": slot[0][place],
        "slot_clicks": slot[1][place],
        "slot_expected": slot[2][place],
        "site_clicks": site[1][place],
        "site_expected": site[2][place],
        **{name: np.repeat([one[name] for one in visitors], k) for name in visitors[0]},
        "frequency": np.array(frequency),
        **_context(shelf, place, np.repeat(asked.has_profile.astype(np.float64), k), at),
    }


def _context(shelf: Library, place: Ints, has_profile: Floats, at: datetime) -> dict[str, Floats]:
    of_slot = [
        context.of_request(
            at,
            time_zone=slot.site.time_zone,
            place=context.Place(slot.position, slot.format, slot.width, slot.height),
            device="unknown",
            has_profile=False,
        )
        for slot in shelf.slots
    ]
    columns = {name: np.array([one[name] for one in of_slot])[place] for name in of_slot[0]}
    return columns | {"has_profile": has_profile}


def _places(creatives: Sequence[Creative], slots: Sequence[AdSlot], statistics: LiveStatistics) -> Ints:
    """For each ad the slot of its format and size with most impressions; of all slots, where none fits."""
    seen = statistics.view.slot.at(np.array([slot.pk for slot in slots], np.int64))[0]
    by_size: dict[tuple[str, int, int], int] = {}
    busiest_first = sorted(range(len(slots)), key=lambda row: (-seen[row], slots[row].pk))
    for row in busiest_first:
        by_size.setdefault((slots[row].format, slots[row].width, slots[row].height), row)
    usual = busiest_first[0] if slots else 0
    return np.array([by_size.get((one.format, one.width, one.height), usual) for one in creatives], np.int64)
