"""The training table: impressions with the vectors that serving would have used at that moment.

For each impression u is the visitor's profile as it stood at its last refresh before the ad was served, without one
the site's vector; v is the creative's. Vectors are kept once and pointed at: row r pairs U[u[r]] with V[v[r]].
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.conf import settings

from adplatform.campaigns.models import Creative
from adplatform.inventory.models import Site
from adplatform.learning import embeddings, export, history
from adplatform.learning.profiles import half_life_seconds
from adplatform.learning.publish import site_text
from ml.schema import Column, Floats, ImpressionLog, Ints, Mask, Vectors
from ml.text.matcher import Matcher

CHUNK = 65_536


@dataclass(frozen=True)
class Dataset:
    """An impression log with context, and its vectors. `has_text`: rows that have both u and v."""

    log: ImpressionLog
    U: Vectors
    V: Vectors
    u: Ints
    v: Ints
    has_text: Mask

    def __len__(self) -> int:
        return len(self.log)

    def text_scores(self, matcher: Matcher | None) -> Floats:
        """Log odds of each row (cosine similarity without a matcher), NaN where a vector is missing."""
        out = np.full(len(self), np.nan)
        projected = matcher.project(self.V) if matcher else self.V
        rows = np.flatnonzero(self.has_text)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            out[part] = np.einsum("nd,nd->n", self.U[self.u[part]], projected[self.v[part]])
        return out + (matcher.bias if matcher else 0.0)


def build(*, until: datetime) -> Dataset:
    """Everything that was shown before `until`. Encodes what visitors did, if that has no vector yet."""
    return of_log(export.training_log(until=until), until=until)


def of_log(exported: export.TrainingLog, *, until: datetime) -> Dataset:
    """Vectors and context for these impressions, from what visitors had done before each of them."""
    encoder_id = embeddings.encoder().id
    profile, profile_row = _profiles(exported, until)
    sites, site_row = _by_id(encoder_id, exported.site, _site_texts())
    creatives, v = _by_id(encoder_id, exported.log.creative, _creative_texts(exported.log.creative))
    has_profile: Mask = profile_row != history.NONE
    U = np.vstack([part for part in (profile, sites) if part.shape[1]] or [profile])
    u = np.where(has_profile, profile_row, site_row + len(profile))
    has_text: Mask = embeddings.has_vector(U)[u] & embeddings.has_vector(creatives)[v]
    return Dataset(exported.with_context(has_profile.astype(np.float64)), U, creatives, u, v, has_text)


def _profiles(exported: export.TrainingLog, until: datetime) -> tuple[Vectors, Ints]:
    """Distinct profiles, and which of them each impression met; history.NONE where its visitor had none."""
    done = export.acts(until=until)
    vectors = embeddings.vectors(done.texts)
    trace = done.trace.spoken(embeddings.has_vector(vectors))
    states = history.states_before(
        trace,
        done.codes(exported.log.visitor),
        exported.log.time,
        refresh_seconds=float(settings.PROFILE_REFRESH_SECONDS),
    )
    met, place = np.unique(states, return_inverse=True)
    none = int(len(met) > 0 and met[0] == history.NONE)
    profiles = history.profiles(trace, vectors, met[none:], half_life_seconds=half_life_seconds())
    return profiles, place - none


def _by_id(encoder_id: str, ids: Ints, texts: dict[int, str]) -> tuple[Vectors, Ints]:
    """One vector per distinct id, and each row's place among them."""
    unique, place = np.unique(ids, return_inverse=True)
    return embeddings.cached(encoder_id, [texts[number] for number in unique.tolist()]), place


def _site_texts() -> dict[int, str]:
    return {site.pk: site_text(site) for site in Site.objects.all()}


def _creative_texts(ids: Column) -> dict[int, str]:
    return {one.pk: one.text for one in Creative.objects.filter(pk__in=np.unique(ids).tolist())}
