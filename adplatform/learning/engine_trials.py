"""What each engine adds to the transformer, measured before it may: on ad clicks later than all that was fitted.

Only ads that a visitor was shown in the window compete: among all ads whoever resembles what was chosen before looks
good, since nothing else could be clicked. (On the invented market, whose truth is known, weights learned among all ads
make the ten picks worse where few ads are retrieved; those learned among the shown ones make them better.)

Two windows end at the moment of the trial. Everything is fitted before the first; weights are chosen on its clicks;
then engines are fitted again before the second, whose clicks judge. The transformer of the trial is the newest matcher
whose training rows end before the first window. An engine is used where the blend beats the transformer alone beyond
noise (95 %, drawing visitors), and its weight is that of the first window.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from adplatform.campaigns.models import Creative
from adplatform.events.models import Impression
from adplatform.events.validity import COUNTED
from adplatform.learning import embeddings, engines, export, history, picks, registry
from adplatform.learning.engines import ENGINES, TRANSFORMER
from adplatform.learning.models import EngineFit, ModelVersion
from adplatform.learning.profiles import half_life_seconds
from ml.engines import blend
from ml.evaluation import ranking
from ml.evaluation.metrics import mean_interval
from ml.schema import Floats, Ints, Mask, Vectors
from ml.text.matcher import Matcher

K = 10
WINDOW = timedelta(days=5)
FEWEST_VISITORS = 50
KEPT = 3  # folders of earlier fits that stay


@dataclass(frozen=True)
class Judged:
    """Visitors of a window with reciprocal ranks by source and what they clicked."""

    visitors: list[str]
    ranks: Mapping[str, Vectors]
    wanted: Mask
    unseen: Mask


def refresh(*, at: datetime, dry_run: bool = False) -> EngineFit:
    """Measure, fit on everything before `at`, keep the folder and say whether the engines are used from now on."""
    started = time.process_time()
    done = export.acts(until=at)
    texts = list(dict.fromkeys(one.text for one in picks.servable(at)))
    encoder = registry.serving_encoder()
    figures = measure(done, texts, at=at, encoder=encoder)
    row = EngineFit(
        name=f"engines-{at:%Y%m%d-%H%M%S}",
        fitted_at=at,
        acts=len(done.trace),
        visitors=len(done.names),
        items=len(set(done.texts) | set(texts)),
        weights=figures.get("weights", {}),
        figures=figures,
        is_used=bool(figures["is_used"]),
        verdict=figures["verdict"],
    )
    if dry_run:
        return row
    fitted = engines.fit(done, texts, before=at.timestamp(), encoder=encoder)
    row.folder = f"{engines.KIND}/{row.name}"
    figures["cpu_seconds"] = round(time.process_time() - started, 2)
    names = list(dict.fromkeys([*done.texts, *texts]))
    engines.save(fitted, engines.folder_of(row), texts=names, figures=figures, encoder=encoder)
    EngineFit.objects.filter(name=row.name).delete()
    row.save()
    _sweep()
    return row


def measure(done: export.Acts, texts: Sequence[str], *, at: datetime, encoder: str) -> dict[str, Any]:
    """Recall@10 and NDCG@10 of each source alone, of the blend, and of the blend without each; and the verdict."""
    first, second = (at - 2 * WINDOW).timestamp(), (at - WINDOW).timestamp()
    matcher = _matcher_before(first, encoder)
    earlier = _judged(done, texts, first, second, encoder=encoder, matcher=matcher)
    later = _judged(done, texts, second, at.timestamp(), encoder=encoder, matcher=matcher)
    if min(len(earlier.visitors), len(later.visitors)) < FEWEST_VISITORS:
        words = (
            f"Not used: fewer than {FEWEST_VISITORS} visitors clicked in each window of {WINDOW.days} days."
        )
        return {"is_used": False, "verdict": words, "visitors": len(later.visitors)}
    weights = blend.learned_weights(
        earlier.ranks, earlier.wanted, k=K, excluded=earlier.unseen, anchor=TRANSFORMER
    )
    rows = _contributions(later, weights)
    gain = rows[TRANSFORMER]["blend_gain"]
    is_used = gain[1] > 0
    return {
        "is_used": is_used,
        "verdict": _verdict(is_used, gain, weights),
        "visitors": len(later.visitors),
        "matcher": matcher[0] if matcher else registry.SIMILARITY,
        "weights": weights,
        "sources": rows,
    }


def _judged(
    done: export.Acts,
    texts: Sequence[str],
    first: float,
    end: float,
    *,
    encoder: str,
    matcher: tuple[str, Matcher] | None,
) -> Judged:
    trace = done.trace
    ad = {text: number for number, text in enumerate(texts)}
    ad_of = np.array([ad.get(text, -1) for text in done.texts] or [-1], np.int64)
    inside = (trace.time >= first) & (trace.time < end) & (ad_of[trace.text] >= 0)
    if trace.weight is not None:
        inside &= trace.weight > 0
    known = np.unique(trace.visitor[trace.time < first])
    codes = np.intersect1d(np.unique(trace.visitor[inside]), known)
    place = np.full(len(done.names) + 1, -1, np.int64)
    place[codes] = np.arange(len(codes))
    wanted = np.zeros((len(codes), len(texts)), np.bool_)
    rows = inside & (place[trace.visitor] >= 0)
    wanted[place[trace.visitor[rows]], ad_of[trace.text[rows]]] = True
    visitors = [done.names[code] for code in codes.tolist()]
    fitted = engines.fit(done, texts, before=first, encoder=encoder)
    scores = fitted.scores(done, visitors, fitted.codes(texts), first)
    U = _profiles(done, codes, moment=first, encoder=encoder)
    V = np.nan_to_num(embeddings.cached(encoder, texts))
    scores[TRANSFORMER] = (U @ (matcher[1].project(V) if matcher else V).T).astype(np.float64)
    unseen = ~(_shown(visitors, ad, first, end) | wanted)
    return Judged(
        visitors, {name: blend.reciprocal_ranks(one) for name, one in scores.items()}, wanted, unseen
    )


def _shown(visitors: Sequence[str], ad: Mapping[str, int], first: float, end: float) -> Mask:
    """Which ads (by text) each visitor was shown in the window."""
    rows = (
        Impression.objects.filter(
            served_at__gte=datetime.fromtimestamp(first, UTC),
            served_at__lt=datetime.fromtimestamp(end, UTC),
            visitor__in=visitors,
            reason__in=COUNTED,
        )
        .values_list("visitor", "creative_id")
        .distinct()
    )
    pairs = list(rows)
    text = {one.pk: one.text for one in Creative.objects.filter(pk__in={creative for _, creative in pairs})}
    place = {name: row for row, name in enumerate(visitors)}
    shown = np.zeros((len(visitors), len(ad)), np.bool_)
    for visitor, creative in pairs:
        if text[creative] in ad:
            shown[place[visitor], ad[text[creative]]] = True
    return shown


def _profiles(done: export.Acts, codes: Ints, *, moment: float, encoder: str) -> Vectors:
    """These visitors' profiles as they stood at a moment."""
    vectors = embeddings.cached(encoder, done.texts)
    trace = done.trace.spoken(embeddings.has_vector(vectors))
    states = history.states_before(trace, codes, np.full(len(codes), moment))
    U = np.zeros((len(codes), vectors.shape[1]), np.float32)
    has = states != history.NONE
    U[has] = history.profiles(trace, vectors, states[has], half_life_seconds=half_life_seconds())
    return U


def _matcher_before(moment: float, encoder: str) -> tuple[str, Matcher] | None:
    """The newest matcher that was trained on nothing after the moment; None: cosine similarity."""
    found = ModelVersion.objects.filter(
        kind=registry.Kind.MATCHER,
        encoder=encoder,
        run__data_until__lte=datetime.fromtimestamp(moment, UTC),
    )
    newest = found.order_by("-run__data_until").first()
    return (newest.name, registry.load_matcher(newest)) if newest else None


def _contributions(later: Judged, weights: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Figures by source. `blend_gain`: NDCG of the blend less that of the source alone; `adds`: less that of the blend
    without it."""
    blended = _ndcg(later, weights)
    unit = np.arange(len(later.visitors))
    rows: dict[str, dict[str, Any]] = {}
    for name in (TRANSFORMER, *ENGINES):
        alone, rest = {name: 1.0}, blend.without(weights, name)
        rows[name] = {
            "weight": weights.get(name, 0.0),
            "ndcg": _rounded(mean_interval(_ndcg(later, alone), unit)),
            "recall": _rounded(mean_interval(_recall(later, alone), unit)),
            "blend_gain": _rounded(mean_interval(blended - _ndcg(later, alone), unit)),
            "adds": _rounded(mean_interval(blended - _ndcg(later, rest), unit)),
            "adds_recall": _rounded(mean_interval(_recall(later, weights) - _recall(later, rest), unit)),
        }
    rows["blend"] = {
        "ndcg": _rounded(mean_interval(blended, unit)),
        "recall": _rounded(mean_interval(_recall(later, weights), unit)),
    }
    return rows


def _lists(later: Judged, weights: Mapping[str, float]) -> Any:
    return ranking.top(blend.fused(later.ranks, weights), K, later.unseen)


def _ndcg(later: Judged, weights: Mapping[str, float]) -> Floats:
    return ranking.ndcg_at(_lists(later, weights), later.wanted)


def _recall(later: Judged, weights: Mapping[str, float]) -> Floats:
    return ranking.recall_at(_lists(later, weights), later.wanted)


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [round(number, 5) for number in numbers]


def _verdict(is_used: bool, gain: Sequence[float], weights: Mapping[str, float]) -> str:
    interval = f"{gain[0]:+.4f} [{gain[1]:+.4f}, {gain[2]:+.4f}] NDCG@{K} beside the transformer alone"
    if is_used:
        parts = ", ".join(f"{name} {weight:g}" for name, weight in weights.items() if weight)
        return f"Used: {interval}; weights {parts}."
    return f"Not used: {interval}. The transformer retrieves alone."


def _sweep() -> None:
    """Folders of fits that nobody will load again go; their rows stay."""
    for old in EngineFit.objects.exclude(folder="")[KEPT:]:
        shutil.rmtree(Path(settings.MODELS_DIR) / old.folder, ignore_errors=True)
        EngineFit.objects.filter(pk=old.pk).update(folder="")
