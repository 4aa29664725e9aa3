"""The models behind an ad decision, as the ads process runs them: numpy and onnxruntime, no Django, no torch.

`Models` is the `models/` folder of a snapshot: creatives' vectors multiplied by the matcher's W ahead of time, the
sites' vectors, and the compiled blender. A `RequestScorer` joins it with one visitor and the live statistics:

    text   = uᵀWv + b         u: the visitor's profile, without one the site's vector
    pctr   = blender(text, statistics, context), level included
    pcvr   of the line item   smoothed, moved by text, device and site where a model of that proved better
    sd     of logit(pctr)     from how often the creative was seen

What is missing steps down, never out: no blender → the creative's smoothed CTR moved by the text score; no vector →
statistics alone. `mode` says which it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adplatform.decision.types import AdRequest, Candidate, Candidates, FloatArray, IntArray, Scores, Slot
from adplatform.learning import context
from adplatform.learning.statistics import (
    PROFILE,
    PROFILE_ENCODER,
    REMEMBERED,
    LiveStatistics,
    View,
    frequency_field,
    of_ads,
    of_visitor,
)
from ml import artifacts, online
from ml.ctr import counters, features
from ml.ctr.runtime import CompiledBlender
from ml.online import Belief
from ml.schema import Floats, Ints, Vectors
from ml.value.conversion import ConversionModel

KIND = "serving"
SETTINGS = "models.json"
CREATIVES, CREATIVE_IDS, SITES, SITE_IDS = "creatives.npy", "creative_ids.npy", "sites.npy", "site_ids.npy"
BLENDER = "blender"
MOST_CTR = 0.9  # without a blender: what rates of a few clicks multiply to is never certain


@dataclass(frozen=True, slots=True)
class Projected:
    """Vectors by id. The last row is zeros and stands for every id without a vector."""

    ids: Ints
    vectors: Vectors

    def rows(self, ids: Ints) -> Ints:
        """Row of each id, that of the zeros where it has none."""
        nothing = len(self.ids)
        if nothing == 0:
            return np.zeros(len(ids), np.int64)
        place = np.minimum(np.searchsorted(self.ids, ids), nothing - 1)
        return np.where(self.ids[place] == ids, place, nothing)


@dataclass(frozen=True, slots=True)
class Aligned:
    """A snapshot's fixed candidate list as columns in its order."""

    fixed: Sequence[Candidate]
    ids: Mapping[str, Ints]  # by ml.ctr.counters.ADS
    pcvr: Floats
    pcvr_base: Floats  # log odds, where a conversion model serves
    frequency: list[bytes]
    vector_row: Ints
    has_vector: Any


@dataclass(frozen=True, slots=True)
class AlignedCounts:
    """The live statistics in the order of the fixed candidate list, for one view of them."""

    view: View
    aligned: Aligned
    by_level: Mapping[str, Floats]


class Models:
    """What a snapshot's `models/` folder holds; immutable but for two caches that are swapped whole."""

    def __init__(
        self,
        *,
        creatives: Projected,
        sites: Projected,
        blender: CompiledBlender | None,
        conversion: ConversionModel | None = None,
        settings: Mapping[str, Any],
    ) -> None:
        self.creatives = creatives
        self.sites = sites
        self.blender = blender
        self.conversion = conversion
        self.versions: dict[str, str] = dict(settings["versions"])
        self.bias = float(settings["bias"])
        self.text_weight = float(settings["text_weight"])
        self.belief = Belief(**settings.get("belief", {}))
        self._encoder = self.versions["encoder"].encode()
        self._aligned: Aligned | None = None
        self._counts: AlignedCounts | None = None

    @classmethod
    def load(cls, folder: Path | str) -> Models:
        """Check every file of the folder, then map the vectors into memory."""
        root = Path(folder)
        manifest = artifacts.verify(root, kind=KIND)
        settings = json.loads(artifacts.read(root, manifest, SETTINGS))
        return cls(
            creatives=Projected(_array(root / CREATIVE_IDS), _array(root / CREATIVES)),
            sites=Projected(_array(root / SITE_IDS), _array(root / SITES)),
            blender=CompiledBlender.load(root / BLENDER) if (root / BLENDER).exists() else None,
            conversion=ConversionModel.load(root / BLENDER) if (root / BLENDER).exists() else None,
            settings=settings,
        )

    @property
    def dimension(self) -> int:
        """Length of a profile that fits these vectors."""
        return int(self.creatives.vectors.shape[1])

    def scorer(self, *, visitor: Mapping[bytes, bytes], statistics: LiveStatistics) -> RequestScorer:
        """A decision.types.Scorer for one request. `visitor`: the fields of `visitor:{pseudonym}`, empty without."""
        return RequestScorer(self, visitor, statistics.view)

    def profile(self, visitor: Mapping[bytes, bytes]) -> Vectors | None:
        """The visitor's vector, unless it is absent or was made by another encoder."""
        packed = visitor.get(PROFILE)
        made_by = visitor.get(PROFILE_ENCODER, self._encoder)
        if not packed or len(packed) != 2 * self.dimension or made_by != self._encoder:
            return None
        return np.frombuffer(packed, "<f2").astype(np.float32)

    def aligned(self, fixed: Sequence[Candidate]) -> Aligned:
        """The candidate list as columns, kept for as long as the same list is asked for."""
        known = self._aligned
        if known is None or known.fixed is not fixed:
            ids = {
                name: np.array([candidate.id_in(name) for candidate in fixed], np.int64)
                for name in counters.ADS
            }
            rows = self.creatives.rows(ids["creative"])
            pcvr = np.array([candidate.pcvr for candidate in fixed], np.float64)
            known = Aligned(
                fixed=fixed,
                ids=ids,
                pcvr=pcvr,
                pcvr_base=self.conversion.base(pcvr) if self.conversion else pcvr,
                frequency=[frequency_field(number) for number in ids["line_item"].tolist()],
                vector_row=rows,
                has_vector=rows < len(self.creatives.ids),
            )
            self._aligned = known
        return known

    def counts(self, view: View, aligned: Aligned) -> AlignedCounts:
        """The statistics in the list's order, computed once per view."""
        known = self._counts
        if known is None or known.view is not view or known.aligned is not aligned:
            by_level = {name: getattr(view, name).at(ids) for name, ids in aligned.ids.items()}
            known = AlignedCounts(view, aligned, by_level)
            self._counts = known
        return known


class RequestScorer:
    """The models for one request (decision.types.Scorer)."""

    def __init__(self, models: Models, visitor: Mapping[bytes, bytes], view: View) -> None:
        self._models = models
        self._visitor = visitor
        self._view = view
        self._profile = models.profile(visitor)
        self._texts: dict[int, FloatArray] = {}
        self._built: dict[int, tuple[IntArray, Vectors]] = {}

    @property
    def versions(self) -> Mapping[str, str]:
        return self._models.versions

    @property
    def mode(self) -> str:
        """'model', or what the ladder stepped down to: 'blender' (no vectors), 'text' (no blender), 'prior'."""
        has_text = len(self._models.creatives.ids) > 0
        if self._models.blender is not None:
            return "model" if has_text else "blender"
        return "text" if has_text else "prior"

    def retrieve(self, request: AdRequest, slot: Slot, candidates: Candidates, k: int) -> IntArray:  # noqa: ARG002
        """The k best by text score, exactly. A candidate without one stands where the mean of the others is."""
        text = self._text(slot, candidates)[candidates.rows]
        if len(text) <= k:
            return np.arange(len(text), dtype=np.int64)
        known = text[~np.isnan(text)]
        text = np.nan_to_num(text, nan=float(known.mean()) if len(known) else 0.0)
        return np.argpartition(-text, k)[:k].astype(np.int64)

    def score(self, request: AdRequest, slot: Slot, candidates: Candidates) -> Scores:
        """Text score, pCTR, pCVR and the uncertainty of each candidate."""
        raw = self.raw(request, slot, candidates)
        if self._models.blender is not None:
            X = features.build(raw)
            self._built[slot.id] = (candidates.rows, X)
            pctr = self._models.blender.predict(X, **self._segments(slot, candidates))
        else:
            pctr = prior_ctr(raw, text_weight=self._models.text_weight)
        return Scores(
            text=raw["text_score"],
            pctr=pctr,
            pcvr=self._pcvr(raw, slot, candidates),
            sd=logit_sd(pctr, raw["creative_impressions"], self._models.belief),
            impressions=raw["creative_impressions"],
        )

    def _pcvr(self, raw: Mapping[str, Any], slot: Slot, candidates: Candidates) -> FloatArray:
        """The smoothed rates of the line items, or what the conversion model makes of them here."""
        model, aligned = self._models.conversion, self._models.aligned(candidates.fixed)
        if model is None:
            return aligned.pcvr[candidates.rows]
        shift = model.shift(raw["device"], slot.site_id)
        return model.probabilities(aligned.pcvr_base[candidates.rows], raw["text_score"], shift)

    def _segments(self, slot: Slot, candidates: Candidates) -> dict[str, Any]:
        """Which campaigns and slot these are, for a calibration that asks for it."""
        blender = self._models.blender
        if blender is None or not blender.calibration.segments:
            return {}
        campaigns = self._models.aligned(candidates.fixed).ids["campaign"]
        return {"campaign": campaigns[candidates.rows], "slot": slot.id}

    def features_of(self, slot: Slot, row: int) -> bytes:
        """What the blender saw of a scored candidate, float32 little endian; empty where it saw nothing.

        `row` is the candidate's in the fixed list. A decision keeps it, so that it can be explained exactly later.
        """
        rows, X = self._built.get(slot.id, (None, None))
        if rows is None or X is None:
            return b""
        found = np.flatnonzero(rows == row)
        return X[found[0]].astype("<f4").tobytes() if len(found) else b""

    def raw(self, request: AdRequest, slot: Slot, candidates: Candidates) -> dict[str, Any]:
        """The numbers of ml.ctr.features.RAW for these candidates, as known now."""
        aligned = self._models.aligned(candidates.fixed)
        counts = self._models.counts(self._view, aligned)
        rows, now, view = candidates.rows, request.at.timestamp(), self._view
        slot_row = view.slot.at(np.array([slot.id]))[:, 0].tolist()
        site_row = view.site.at(np.array([slot.site_id]))[:, 0].tolist()
        return {
            "text_score": self._text(slot, candidates)[rows],
            "global_impressions": view.overall[0],
            "global_clicks": view.overall[1],
            "global_expected": view.overall[2],
            **of_ads(
                {name: table[:, rows] for name, table in counts.by_level.items()},
                faded={name: getattr(view, name).fading(now) for name in REMEMBERED},
            ),
            "slot_impressions": slot_row[0],
            "slot_clicks": slot_row[1],
            "slot_expected": slot_row[2],
            "site_clicks": site_row[1],
            "site_expected": site_row[2],
            **self._visitor_numbers(request, aligned, rows),
            **context.of_request(
                request.at,
                time_zone=slot.time_zone,
                place=context.Place(slot.position, slot.format, slot.width, slot.height),
                device=request.device,
                has_profile=self._profile is not None,
            ),
        }

    def _visitor_numbers(self, request: AdRequest, aligned: Aligned, rows: IntArray) -> dict[str, Any]:
        if not request.visitor:
            return {}
        get = self._visitor.get
        return {
            **of_visitor(self._visitor, request.at.timestamp()),
            "frequency": np.array([float(get(aligned.frequency[row], 0)) for row in rows.tolist()]),
        }

    def _text(self, slot: Slot, candidates: Candidates) -> FloatArray:
        """Text score of the whole fixed list, NaN where it is not known; one matrix product per request and site."""
        site = 0 if self._profile is not None else slot.site_id
        if site not in self._texts:
            self._texts[site] = self._product(
                self._profile, slot.site_id, self._models.aligned(candidates.fixed)
            )
        return self._texts[site]

    def _product(self, profile: Vectors | None, site_id: int, aligned: Aligned) -> FloatArray:
        models = self._models
        u = profile if profile is not None else _site_vector(models.sites, site_id)
        if u is None:
            return np.full(len(aligned.fixed), np.nan)
        scores = (models.creatives.vectors @ u)[aligned.vector_row].astype(np.float64) + models.bias
        return np.where(aligned.has_vector, scores, np.nan)


def prior_ctr(raw: Mapping[str, Any], *, text_weight: float) -> FloatArray:
    """Without a blender: the creative's smoothed CTR in this slot, its odds moved by how its text score differs from the
    others'."""
    ctr = np.minimum(counters.ad_rates(raw).creative * counters.place_lifts(raw)[0], MOST_CTR)
    text = np.asarray(raw["text_score"], np.float64)
    known = ~np.isnan(text)
    lift = np.where(known, text - (text[known].mean() if known.any() else 0.0), 0.0) * text_weight
    odds = ctr / (1 - ctr) * np.exp(np.clip(lift, -3.0, 3.0))
    return np.asarray(odds / (1 + odds), np.float64)


def logit_sd(pctr: FloatArray, impressions: FloatArray, belief: Belief = online.DEFAULT) -> FloatArray:
    """Standard deviation of logit(pctr): the posterior's, from how often the creative was seen by now."""
    return online.posterior_sd(impressions, pctr, belief)


def _site_vector(sites: Projected, site_id: int) -> Vectors | None:
    row = int(sites.rows(np.array([site_id]))[0])
    return sites.vectors[row] if row < len(sites.ids) else None


def _array(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)
