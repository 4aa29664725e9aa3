"""Why a stored decision showed its ad: exact contributions of what the blender saw then, and the acts that fit the ad.

The decision kept the blender's inputs (events.AdDecision.features) and the name of the blender, so that an explanation
is of that moment and that model, to the last digit, and not a guess of today's. Without them (a prior decided, or the
model's folder is gone) it is not exact, and says so.

Costs milliseconds and loads LightGBM: for decisions that somebody asks about, never in a request for ads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db.models import Q

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.campaigns.models import Creative
from adplatform.events.models import AdDecision, Click
from adplatform.events.validity import COUNTED
from adplatform.learning import embeddings, registry
from adplatform.learning.models import ModelVersion
from ml import artifacts
from ml.ctr import explain, features
from ml.ctr.blender import Blender
from ml.schema import Floats, Vectors

if TYPE_CHECKING:
    from adplatform.learning.training import Material
    from ml.text.matcher import Matcher

GROUPS = explain.GROUPS
MOST_ACTS = 200  # of one visitor, the newest: what a profile is mostly made of
FEWEST_COSINE = 0.25  # texts below it have nothing to do with each other
NEAREST = 3
CLICKED = "clicked"


@dataclass(frozen=True, slots=True)
class Near:
    """Something a visitor did whose text is like the ad's. `kind` is read, purchase or clicked."""

    text: str
    kind: str
    cosine: float


@dataclass(frozen=True)
class Explanation:
    """One decision. In log odds: base + Σ groups + level = logit(pCTR); each is 0 where it is not exact.

    `features` are (what the blender saw, what it added) by name. `nearest` is for the visitor himself and nobody else.
    """

    decision: AdDecision
    is_exact: bool
    base: float = 0.0
    level: float = 0.0
    groups: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(GROUPS, 0.0))
    features: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    nearest: Sequence[Near] = ()

    @property
    def impressions(self) -> float | None:
        """How often the ad had been shown to anyone, as far as the decision knew."""
        return self._count("creative_log_impressions")

    @property
    def ctr(self) -> float | None:
        """The ad's smoothed share of clicks at that moment."""
        seen = self.features.get("creative_ctr")
        return None if seen is None or np.isnan(seen[0]) else seen[0]

    @property
    def times_seen(self) -> float | None:
        """How often this visitor had seen the line item; None without a visitor."""
        return self._count("frequency_log")

    def _count(self, name: str) -> float | None:
        seen = self.features.get(name)
        return None if seen is None or np.isnan(seen[0]) else float(round(np.expm1(seen[0])))


def decision(decision_id: str) -> AdDecision | None:
    """A decision that showed an ad."""
    return AdDecision.objects.filter(decision_id=decision_id, creative_id__isnull=False).first()


def explained(found: AdDecision, *, nearest: bool = False) -> Explanation:
    """Explain a decision. `nearest` also looks at what its visitor did: only for a page that he alone sees."""
    near = nearest_acts(found) if nearest else []
    blender = blender_of(found.versions)
    rows = matrix([found], blender) if blender else None
    if blender is None or rows is None:
        return Explanation(found, False, nearest=near)
    told = explain.contributions(blender, rows, calibrated=np.array([found.pctr or 0.0]))
    values = zip(rows[0].tolist(), told.values[0].tolist(), strict=True)
    return Explanation(
        found,
        True,
        base=float(told.base[0]),
        level=float(told.level[0]),
        groups={group: float(column[0]) for group, column in told.by_group().items()},
        features=dict(zip(told.names, values, strict=True)),
        nearest=near,
    )


def importance(prepared: Material, matcher: Matcher | None, blender: Blender) -> dict[str, Any]:
    """How much each human group and feature moves the predictions of the newest day: what a training run stores."""
    rows = prepared.split.test
    raw = {name: column[rows] for name, column in prepared.raw.items()}
    raw["text_score"] = prepared.data.text_scores(matcher)[rows]
    return explain.importance(blender, features.build(raw))


def blender_of(versions: Mapping[str, str]) -> Blender | None:
    """The trees that decided, by the name that the decision kept; None where they are gone or none did."""
    name = versions.get("blender", registry.PRIOR)
    return None if name == registry.PRIOR else _blender(name)


def matrix(decisions: Sequence[AdDecision], blender: Blender) -> Vectors | None:
    """Their feature rows, None where one of them was not kept for these trees."""
    width = 4 * len(blender.names)
    packed = [bytes(one.features) for one in decisions]
    if any(len(row) != width for row in packed):
        return None
    return np.frombuffer(b"".join(packed), "<f4").reshape(len(packed), len(blender.names)).astype(np.float32)


@lru_cache(maxsize=4)
def _blender(name: str) -> Blender | None:
    version = ModelVersion.objects.filter(name=name).first()
    if version is None:
        return None
    try:
        return Blender.load(registry.folder_of(version))
    except (artifacts.ArtifactError, OSError):
        return None


# --- what the visitor did that is like the ad -------------------------------------------------------------------------


def nearest_acts(found: AdDecision, *, most: int = NEAREST) -> list[Near]:
    """Up to `most` different things that the decision's visitor had done before it, the most similar first.

    None without his consent as it stands today, whatever it was then.
    """
    visitor = Visitor.objects.filter(pseudonym=found.visitor).first() if found.visitor else None
    if visitor is None or not _agrees(visitor):
        return []
    creative = Creative.objects.filter(pk=found.creative_id or 0).first()
    done = _acts(visitor, until=found.served_at)
    if creative is None or not done:
        return []
    encoder = found.versions.get("encoder", "") or registry.serving_encoder()
    vectors = embeddings.cached(encoder, [creative.text, *done])
    order, cosine = ranked(vectors)
    texts = list(done)
    return [Near(texts[row], done[texts[row]], cosine[row]) for row in order[:most]]


def ranked(vectors: Vectors) -> tuple[list[int], list[float]]:
    """Of rows 1…, those that are like row 0, the most similar first, and the cosine of each row."""
    if not vectors.shape[1] or np.isnan(vectors[0, 0]):
        return [], []
    cosine: Floats = np.nan_to_num(vectors[1:] @ vectors[0], nan=-1.0).astype(np.float64)
    order = np.argsort(-cosine, kind="stable")
    return [row for row in order.tolist() if cosine[row] >= FEWEST_COSINE], cosine.tolist()


def _agrees(visitor: Visitor) -> bool:
    newest = Consent.objects.filter(visitor=visitor).order_by("-at", "-pk").first()
    return newest is not None and newest.is_granted


def _acts(visitor: Visitor, *, until: datetime) -> dict[str, str]:
    """Kind by text of the visitor's newest acts before a moment, each text once."""
    behaviours = Behaviour.objects.filter(visitor=visitor, occurred_at__lt=until).order_by("-occurred_at")
    clicks = Click.objects.filter(
        Q(visitor=visitor.pseudonym), occurred_at__lt=until, reason__in=COUNTED
    ).order_by("-occurred_at")
    clicked = list(clicks.values_list("creative_id", flat=True)[:MOST_ACTS])
    texts = {one.pk: one.text for one in Creative.objects.filter(pk__in=clicked)}
    done = dict.fromkeys((texts[pk] for pk in clicked if pk in texts), CLICKED)
    for text, kind in behaviours.values_list("text", "kind")[:MOST_ACTS]:
        done.setdefault(text, kind)
    return done
