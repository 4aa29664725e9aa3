"""The models behind an ad decision, joined with one visitor and the live statistics. No Django, no torch.

    rough   = standing + lift   of any ad, cheap; the lift is the text score's, in few dimensions
    text    = uᵀWv + b          u: the visitor's profile, without one the site's vector
    pctr    = blender(text, statistics, context), calibrated
    pcvr    of the line item    smoothed, moved by text, device and site where a model of that proved better
    sd      of logit(pctr)      the posterior's, from how often the creative was seen by now

What is missing steps down, never out: no blender → the creative's smoothed CTR moved by the text score; no vector →
statistics alone. `mode` says which it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from adplatform.decision.candidates import CandidateSet
from adplatform.decision.shortlist import Shortlist
from adplatform.decision.types import AdRequest, Candidate, Candidates, FloatArray, IntArray, Scores, Slot
from adplatform.learning import context
from adplatform.learning.served import Aligned, AlignedCounts, Models, Projected, overall
from adplatform.learning.statistics import REMEMBERED, View, frequencies, of_ads, of_visitor
from ml import online
from ml.ctr import counters, features
from ml.schema import Vectors

SUITING = 1.0  # standard deviations by which an ad is taken to suit a reader better than its topic does
MOST_CTR = 0.9  # without a blender: what rates of a few clicks multiply to is never certain


class Patience(Protocol):
    """Whether there is time for the trees. `begin` is asked before each use of them, `end` told after."""

    def begin(self) -> bool: ...
    def end(self) -> None: ...


class RequestScorer:
    """The models for one request (decision.types.Scorer). Without `patience` there is all the time in the world."""

    def __init__(
        self,
        models: Models,
        visitor: Mapping[bytes, bytes],
        view: View,
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience
        self._is_hurried = False
        self._models = models
        self._visitor = visitor
        self._view = view
        self._profile = models.profile(visitor)
        self._built: dict[int, tuple[IntArray, Vectors]] = {}
        self._short_readers: dict[int, Vectors] = {}  # by site

    @property
    def versions(self) -> Mapping[str, str]:
        return self._models.versions

    @property
    def mode(self) -> str:
        """'model', or what the ladder stepped down to: 'blender' (no vectors), 'text' (no blender), 'prior'."""
        has_text = len(self._models.creatives.ids) > 0
        if self._models.blender is not None and not self._is_hurried:
            return "model" if has_text else "blender"
        return "text" if has_text else "prior"

    def shortlist(self, fixed: CandidateSet) -> Shortlist | None:
        """The candidates in the order of their promise, for this view of the statistics."""
        return self._models.counts(self._view, fixed).shortlist

    def standing(self, fixed: Sequence[Candidate]) -> FloatArray:
        """Rough log odds of each ad, raised where little is known of it."""
        return self._models.counts(self._view, fixed).standing

    def topic_lifts(self, slot: Slot) -> FloatArray | None:
        """The lift of an ad of each topic that suits the reader well for one of its topic; of ads without a vector, the
        mean of all."""
        models, reader = self._models, self._short_reader(slot)
        if reader is None or models.topics is None:
            return None
        centres, spread = models.topics
        suits = SUITING * math.sqrt(float(reader @ reader))
        lifts = np.empty(len(centres) + 1)
        lifts[:-1] = models.first_stage.lift(centres @ reader + suits * spread)
        lifts[-1] = lifts[:-1].sum() / len(centres)
        return lifts

    def lift(self, request: AdRequest, slot: Slot, candidates: Candidates) -> FloatArray:  # noqa: ARG002
        """By how much the text score raises it. A candidate without a vector stands where the mean of the others is."""
        models, rows = self._models, candidates.rows
        aligned = models.aligned(candidates.fixed)
        text = self._short_text(slot, aligned, rows)
        if text is None:
            return np.zeros(len(rows))
        if (unknown := np.isnan(text)).any():
            known = text[~unknown]
            text[unknown] = float(known.mean()) if len(known) else 0.0
        return models.first_stage.lift(text)

    def score(self, request: AdRequest, slot: Slot, candidates: Candidates) -> Scores:
        """Text score, pCTR, pCVR and the uncertainty of each candidate."""
        models, rows = self._models, candidates.rows
        counts = models.counts(self._view, candidates.fixed)
        text = self._text(slot, counts.aligned, rows)
        pctr = self._by_trees(request, slot, candidates, counts, text)
        if pctr is None:
            pctr = prior_ctr(self.raw(request, slot, candidates), text_weight=models.text_weight)
        return Scores(
            text=text,
            pctr=pctr,
            pcvr=self._pcvr(request, slot, counts.aligned, rows, text),
            sd=online.posterior_sd(counts.impressions[rows], pctr, models.belief),
            impressions=counts.impressions[rows],
        )

    def _by_trees(
        self, request: AdRequest, slot: Slot, candidates: Candidates, counts: AlignedCounts, text: FloatArray
    ) -> FloatArray | None:
        """pCTR by the blender; None without one, and where there is no time for it."""
        blender, rows, patience = self._models.blender, candidates.rows, self._patience
        if patience is not None and not patience.begin():
            self._is_hurried = True
            return None
        if blender is None:
            return None
        X = self._features(request, slot, counts, rows, text)
        self._built[slot.id] = (rows, X)
        pctr = blender.predict(X, **self._segments(slot, candidates))
        if patience is not None:
            patience.end()
        return pctr

    def _features(
        self, request: AdRequest, slot: Slot, counts: AlignedCounts, rows: IntArray, text: FloatArray
    ) -> Vectors:
        """ml.ctr.features.build of `raw`, with the ads' side as it was computed for the view."""
        faded = self._faded(request)
        numbers = features.MISSING_REQUEST | self._of_request(request, slot, counts.aligned, rows)
        numbers["text_score"] = text
        return features.of_ads(
            counts.ads,
            rows,
            counts.overall_rate,
            numbers,
            creative_faded=faded["creative"],
            line_item_faded=faded["line_item"],
        )

    def _pcvr(
        self, request: AdRequest, slot: Slot, aligned: Aligned, rows: IntArray, text: FloatArray
    ) -> FloatArray:
        """The smoothed rates of the line items, or what the conversion model makes of them here."""
        model = self._models.conversion
        if model is None:
            return aligned.pcvr[rows]
        shift = model.shift(features.device_code(request.device), slot.site_id)
        return model.probabilities(aligned.pcvr_base[rows], text, shift)

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
        (found,) = (rows == row).nonzero()
        return X[found[0]].astype("<f4").tobytes() if len(found) else b""

    def features_among(self, slot: Slot, rows: IntArray) -> bytes:
        """`features_of` of several scored candidates, one after another."""
        scored, X = self._built.get(slot.id, (None, None))
        if scored is None or X is None:
            return b""
        order = np.argsort(scored)
        return X[order[np.searchsorted(scored, rows, sorter=order)]].astype("<f4").tobytes()

    def raw(self, request: AdRequest, slot: Slot, candidates: Candidates) -> dict[str, Any]:
        """The numbers of ml.ctr.features.RAW for these candidates, as known now."""
        rows = candidates.rows
        counts = self._models.counts(self._view, candidates.fixed)
        return {
            "text_score": self._text(slot, counts.aligned, rows),
            **of_ads(counts.by_level(rows), faded=self._faded(request)),
            **self._of_request(request, slot, counts.aligned, rows),
        }

    def _faded(self, request: AdRequest) -> dict[str, float]:
        now = request.at.timestamp()
        return {name: getattr(self._view, name).fading(now) for name in REMEMBERED}

    def _of_request(self, request: AdRequest, slot: Slot, aligned: Aligned, rows: IntArray) -> dict[str, Any]:
        """What all candidates of a request share, and how often the visitor met each."""
        view = self._view
        slot_row, site_row = view.slot.of(slot.id), view.site.of(slot.site_id)
        return {
            **overall(view),
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
        seen = frequencies(self._visitor)
        met = [seen.get(number, 0.0) for number in aligned.ids["line_item"][rows].tolist()]
        return {**of_visitor(self._visitor, request.at.timestamp()), "frequency": np.array(met)}

    def _reader(self, slot: Slot) -> Vectors | None:
        """Who reads: the profile, without one the site's vector."""
        return self._profile if self._profile is not None else _site_vector(self._models.sites, slot.site_id)

    def _text(self, slot: Slot, aligned: Aligned, rows: IntArray) -> FloatArray:
        """Text scores of these rows, NaN where one is not known."""
        models, u = self._models, self._reader(slot)
        if u is None:
            return np.full(len(rows), np.nan)
        return aligned.scores(models.creatives.vectors, u, rows, bias=models.bias)

    def _short_text(self, slot: Slot, aligned: Aligned, rows: IntArray) -> FloatArray | None:
        """Text scores in few dimensions, NaN where there is no vector; None where there are none at all."""
        models, reader = self._models, self._short_reader(slot)
        if reader is not None and models.short is not None:
            return aligned.scores(models.short, reader, rows)
        u = self._reader(slot)
        if u is None or len(models.creatives.ids) == 0:
            return None
        return aligned.scores(models.creatives.vectors, u, rows)

    def _short_reader(self, slot: Slot) -> Vectors | None:
        """Who reads, on the few axes; None without them."""
        axes, known = self._models.axes, self._short_readers.get(slot.site_id)
        if known is None and axes is not None and (u := self._reader(slot)) is not None:
            known = self._short_readers[slot.site_id] = u @ axes
        return known


def prior_ctr(raw: Mapping[str, Any], *, text_weight: float) -> FloatArray:
    """Without a blender: the creative's smoothed CTR in this slot, its odds moved by how its text score differs from the
    others'."""
    ctr = np.minimum(counters.ad_rates(raw).creative * counters.place_lifts(raw)[0], MOST_CTR)
    text = np.asarray(raw["text_score"], np.float64)
    known = ~np.isnan(text)
    lift = np.where(known, text - (text[known].mean() if known.any() else 0.0), 0.0) * text_weight
    odds = ctr / (1 - ctr) * np.exp(np.clip(lift, -3.0, 3.0))
    return np.asarray(odds / (1 + odds), np.float64)


def _site_vector(sites: Projected, site_id: int) -> Vectors | None:
    row = int(sites.ids.searchsorted(site_id))
    return sites.vectors[row] if row < len(sites.ids) and sites.ids[row] == site_id else None
