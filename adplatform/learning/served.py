"""The `models/` folder of a snapshot, as the ads process holds it: numpy, no Django, no torch.

Creatives' vectors multiplied by the matcher's W ahead of time (and once more in few dimensions, for the first stage), the
sites' vectors, the compiled blender, what else was trained beside it. What a request needs of all ads is computed once per
view of the statistics (`AlignedCounts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adplatform.decision.candidates import CandidateSet
from adplatform.decision.columns import Columns
from adplatform.decision.shortlist import Shortlist
from adplatform.decision.types import Candidate
from adplatform.learning import trial
from adplatform.learning.statistics import (
    PROFILE,
    PROFILE_ENCODER,
    REMEMBERED,
    Counts,
    View,
    of_ads,
)
from ml import artifacts, online
from ml.ctr import counters, features
from ml.ctr.first_stage import FILE as FIRST_STAGE
from ml.ctr.first_stage import FirstStage, axes_of, fallback, topics_of
from ml.ctr.runtime import CompiledBlender
from ml.dots import dots
from ml.online import Belief
from ml.schema import Floats, Ints, Vectors
from ml.value.conversion import ConversionModel

KIND = "serving"
SETTINGS = "models.json"
CREATIVES, CREATIVE_IDS, SITES, SITE_IDS = "creatives.npy", "creative_ids.npy", "sites.npy", "site_ids.npy"
SHORT, AXES = "creatives_short.npy", "axes.npy"  # creatives on the few axes along which they differ most
TOPIC, TOPICS = "creatives_topic.npy", "topics.npy"  # ml.ctr.first_stage.topics_of the short vectors
BLENDER = "blender"
_UNFADED = dict.fromkeys(REMEMBERED, 1.0)
STEP = 0.02  # in log odds, roughly: by how much the first stage may lag behind the counters
MOVED_SHARE = 0.001  # of the ads: so few may lag by more
OPTIMISM = 0.3  # standard deviations that a standing is raised by, so that who is hardly known is looked at


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
    vector_row: Ints
    has_vector: Any
    topic: Ints | None  # the last one stands for ads without a vector

    def scores(self, vectors: Vectors, reader: Vectors, rows: Ints, *, bias: float = 0.0) -> Floats:
        """Of these ads their vectors' scores with the reader's, plus the bias; NaN where there is no vector."""
        return dots(vectors, reader, self.vector_row, self.has_vector, rows, bias=bias)


@dataclass(frozen=True, slots=True)
class AlignedCounts:
    """The live statistics in the order of the fixed candidate list, for one view of them: what a request needs of its
    ads, computed ahead. `standing` is the first stage's, raised where little is known of an ad; `shortlist` the list in the
    order that they make.

    Both follow the counters within `STEP`: they are what costs most, and an ad's place among thousands does not hang on
    its last impression. `stood_on` are the first rows of `ads` that they were computed from.
    """

    view: View
    aligned: Aligned
    places: Mapping[str, Ints]  # of each ad's row in the view's tables, by ml.ctr.counters.ADS
    ads: Floats  # ml.ctr.features.AdSide.table
    overall_rate: float
    impressions: Floats  # of each creative
    standing: Floats
    stood_on: Floats
    shortlist: Shortlist | None

    def by_level(self, rows: Ints) -> dict[str, Floats]:
        """Counters of these ads at each of their levels, as Counts.at has them."""
        return {name: _at(getattr(self.view, name), places[rows]) for name, places in self.places.items()}


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
        short: Vectors | None = None,
        axes: Vectors | None = None,
        topic: Ints | None = None,
        topics: Vectors | None = None,
        first_stage: FirstStage | None = None,
    ) -> None:
        self.creatives = creatives
        self.sites = sites
        self.blender = blender
        self.short, self.axes = short, axes
        self.topic = topic
        # Centres, and how far their members' scores lie apart.
        self.topics = None if topics is None else (np.ascontiguousarray(topics[:, :-1]), topics[:, -1])
        self.conversion = conversion
        self.versions: dict[str, str] = dict(settings["versions"])
        self.bias = float(settings["bias"])
        self.text_weight = float(settings["text_weight"])
        self.first_stage = first_stage or fallback(text_weight=self.text_weight)
        self.belief = Belief(**settings.get("belief", {}))
        self._encoder = self.versions["encoder"].encode()
        self._aligned: Aligned | None = None
        self._counts: tuple[AlignedCounts, ...] = ()  # of the newest view and the one before

    @classmethod
    def load(cls, folder: Path | str) -> Models:
        """Check every file of the folder, then map the vectors into memory."""
        root = Path(folder)
        manifest = artifacts.verify(root, kind=KIND)
        settings = json.loads(artifacts.read(root, manifest, SETTINGS))
        return cls(
            creatives=Projected(_array(root / CREATIVE_IDS), _array(root / CREATIVES)),
            sites=Projected(_array(root / SITE_IDS), _array(root / SITES)),
            blender=_blender(root / BLENDER),
            conversion=ConversionModel.load(root / BLENDER) if (root / BLENDER).exists() else None,
            settings=settings,
            short=_array(root / SHORT) if SHORT in manifest.files else None,
            axes=_array(root / AXES) if AXES in manifest.files else None,
            topic=_array(root / TOPIC) if TOPIC in manifest.files else None,
            topics=_array(root / TOPICS) if TOPICS in manifest.files else None,
            first_stage=_first_stage(root / BLENDER),
        )

    def again(self) -> Models:
        """The same models, for another candidate list."""
        other = copy(self)
        other._aligned, other._counts = None, ()
        return other

    @property
    def dimension(self) -> int:
        """Length of a profile that fits these vectors."""
        return int(self.creatives.vectors.shape[1])

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
            numbers = (fixed.columns if isinstance(fixed, CandidateSet) else Columns.of(fixed)).numbers
            ids = {name: numbers[f"{name}_id"] for name in counters.ADS}
            rows = self.creatives.rows(ids["creative"])
            pcvr = numbers["pcvr"]
            known = Aligned(
                fixed=fixed,
                ids=ids,
                pcvr=pcvr,
                pcvr_base=self.conversion.base(pcvr) if self.conversion else pcvr,
                vector_row=rows,
                has_vector=rows < len(self.creatives.ids),
                topic=None if self.topic is None else self.topic[rows],
            )
            self._aligned = known
        return known

    def counts(self, view: View, fixed: Sequence[Candidate]) -> AlignedCounts:
        """The statistics in the list's order, computed once per view; `prepare` does it before a request has to."""
        aligned = self.aligned(fixed)
        for known in self._counts:
            if known.view is view and known.aligned is aligned:
                return known
        made = self._followed(view, aligned)
        self._counts = (made, *self._counts[:1])
        return made

    def _followed(self, view: View, aligned: Aligned) -> AlignedCounts:
        """The statistics of a view, from those of the view before as far as they still hold."""
        before = self._counts[0] if self._counts and self._counts[0].aligned is aligned else None
        if before is not None and _same_ads(view, before.view):
            return replace(before, view=view)
        places = {name: _places(name, view, aligned, before) for name in counters.ADS}
        levels = {name: _at(getattr(view, name), found) for name, found in places.items()}
        side = features.ad_side(overall(view) | of_ads(levels, faded=_UNFADED))
        ads = side.table()
        stood_on = ads[:4]
        if before is None:
            standing, shortlist = self._standing(stood_on), None
        else:
            standing, shortlist, stood_on = self._stood(before, stood_on)
        if shortlist is None and isinstance(aligned.fixed, CandidateSet):
            shortlist = Shortlist(aligned.fixed, standing, aligned.topic)
        return AlignedCounts(
            view,
            aligned,
            places,
            ads,
            float(side.overall),
            levels["creative"][0],
            standing,
            stood_on,
            shortlist,
        )

    def _stood(self, before: AlignedCounts, now: Floats) -> tuple[Floats, Shortlist | None, Floats]:
        """Standing, shortlist and what they stand on: as before until more than a few ads have moved by a step; then
        those ads anew, and no shortlist, which must be sorted again."""
        moved = np.flatnonzero(_moved(before.stood_on, now))
        if len(moved) <= MOVED_SHARE * now.shape[1]:
            return before.standing, before.shortlist, before.stood_on
        standing, stood_on = before.standing.copy(), before.stood_on.copy()
        stood_on[:, moved] = now[:, moved]
        standing[moved] = self._standing(now[:, moved])
        return standing, None, stood_on

    def _standing(self, of: Floats) -> Floats:
        """From rows of `AlignedCounts.stood_on`."""
        side = features.AdSide._make((*of[:4], *of[:4], 0.0))  # recent sums play no part in it
        sd = online.posterior_sd(np.expm1(of[2]), of[0], self.belief)
        return self.first_stage.standing(side) + OPTIMISM * sd

    def prepare(self, fixed: Sequence[Candidate], view: View) -> None:
        """Compute everything of a new view ahead of the first request that needs it. Call it from the background."""
        self.counts(view, fixed)


def _same_ads(view: View, before: View) -> bool:
    """Whether nothing about ads has changed between two views."""
    same = all(getattr(view, name) is getattr(before, name) for name in counters.ADS)
    return same and view.overall == before.overall


def _places(name: str, view: View, aligned: Aligned, before: AlignedCounts | None) -> Ints:
    """Of a level's ids in the view's table: those from before where no id was new since."""
    counts: Counts = getattr(view, name)
    if before is not None and counts.ids is getattr(before.view, name).ids:
        return before.places[name]
    return counts.places(aligned.ids[name])


def _moved(before: Floats, now: Floats) -> Any:
    """Which columns of `AlignedCounts.stood_on` differ by a step: a rate by that share, impressions by that factor."""
    rates = np.abs(now[:2] - before[:2]) > STEP * before[:2]
    known = np.abs(now[2:] - before[2:]) > STEP
    return rates[0] | rates[1] | known[0] | known[1]


def _at(counts: Counts, places: Ints) -> Floats:
    """Counts.at by places: `take` within known bounds is four times as fast as indexing."""
    found: Floats = counts.table.take(places, axis=1, mode="clip")
    return found


def overall(view: View) -> dict[str, Any]:
    """ml.ctr.counters.Raw's numbers of everything."""
    return dict(zip(("global_impressions", "global_clicks", "global_expected"), view.overall, strict=True))


def _blender(folder: Path) -> CompiledBlender | None:
    """The trees, if there are any; UnfitError where they are slow here, or their values no numbers."""
    if not folder.exists():
        return None
    blender = CompiledBlender.load(folder)
    trial.check(blender)
    return blender


def _first_stage(folder: Path) -> FirstStage | None:
    """Of the blender; None without one, or where it was trained before there was a first stage."""
    if not folder.exists():
        return None
    manifest = artifacts.verify(folder)
    return (
        FirstStage.parse(artifacts.read(folder, manifest, FIRST_STAGE))
        if FIRST_STAGE in manifest.files
        else None
    )


def short_form(vectors: Vectors) -> dict[str, Any]:
    """Creatives' vectors for the first stage, by file: on few axes, and by topic, with one more for ids without a
    vector."""
    axes = axes_of(vectors)
    short = vectors @ axes
    topic, topics = topics_of(short)
    return {AXES: axes, SHORT: with_nothing(short), TOPIC: np.append(topic, len(topics)), TOPICS: topics}


def with_nothing(vectors: Vectors) -> Vectors:
    """With the row of zeros that stands for ids without a vector."""
    return np.vstack([vectors, np.zeros((1, vectors.shape[1]), np.float32)]).astype(np.float32)


def _array(path: Path) -> Any:
    """Mapped into memory, which all processes share; as a plain array, whose indexing is faster than np.memmap's."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
