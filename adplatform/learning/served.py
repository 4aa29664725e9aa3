"""The `models/` folder of a snapshot, as the ads process holds it: numpy and onnxruntime, no Django, no torch.

Creatives' vectors multiplied by the matcher's W ahead of time (and once more in few dimensions, for the first stage), the
sites' vectors, the compiled blender, what else was trained beside it. What a request needs of all ads is computed once per
view of the statistics (`AlignedCounts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adplatform.decision.candidates import CandidateSet
from adplatform.decision.shortlist import Shortlist
from adplatform.decision.types import Candidate
from adplatform.learning.statistics import PROFILE, PROFILE_ENCODER, REMEMBERED, View, frequency_field, of_ads
from ml import artifacts, online
from ml.ctr import counters, features
from ml.ctr.first_stage import FILE as FIRST_STAGE
from ml.ctr.first_stage import FirstStage, fallback
from ml.ctr.runtime import CompiledBlender
from ml.online import Belief
from ml.schema import Floats, Ints, Vectors
from ml.value.conversion import ConversionModel

KIND = "serving"
SETTINGS = "models.json"
CREATIVES, CREATIVE_IDS, SITES, SITE_IDS = "creatives.npy", "creative_ids.npy", "sites.npy", "site_ids.npy"
SHORT, AXES = "creatives_short.npy", "axes.npy"  # creatives on the few axes along which they differ most
BLENDER = "blender"
_UNFADED = dict.fromkeys(REMEMBERED, 1.0)
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
    frequency: list[bytes]
    vector_row: Ints
    has_vector: Any


@dataclass(frozen=True, slots=True)
class AlignedCounts:
    """The live statistics in the order of the fixed candidate list, for one view of them: what a request needs of its
    ads, computed ahead. `standing` is the first stage's, raised where little is known of an ad; `shortlist` the list in the
    order that they make."""

    view: View
    aligned: Aligned
    by_level: Mapping[str, Floats]
    ads: Floats  # ml.ctr.features.AdSide.table
    overall_rate: float
    standing: Floats
    shortlist: Shortlist | None

    @property
    def impressions(self) -> Floats:
        """Of each creative."""
        found: Floats = self.by_level["creative"][0]
        return found


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
        first_stage: FirstStage | None = None,
    ) -> None:
        self.creatives = creatives
        self.sites = sites
        self.blender = blender
        self.short, self.axes = short, axes
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
            blender=CompiledBlender.load(root / BLENDER) if (root / BLENDER).exists() else None,
            conversion=ConversionModel.load(root / BLENDER) if (root / BLENDER).exists() else None,
            settings=settings,
            short=_array(root / SHORT) if SHORT in manifest.files else None,
            axes=_array(root / AXES) if AXES in manifest.files else None,
            first_stage=_first_stage(root / BLENDER),
        )

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

    def counts(self, view: View, fixed: Sequence[Candidate]) -> AlignedCounts:
        """The statistics in the list's order, computed once per view; `prepare` does it before a request has to."""
        aligned = self.aligned(fixed)
        for known in self._counts:
            if known.view is view and known.aligned is aligned:
                return known
        by_level = {name: getattr(view, name).at(ids) for name, ids in aligned.ids.items()}
        ads = features.ad_side(overall(view) | of_ads(by_level, faded=_UNFADED))
        standing = self.first_stage.standing(ads) + OPTIMISM * online.posterior_sd(
            by_level["creative"][0], ads.creative, self.belief
        )
        shortlist = Shortlist(fixed, standing) if isinstance(fixed, CandidateSet) else None
        made = AlignedCounts(view, aligned, by_level, ads.table(), float(ads.overall), standing, shortlist)
        self._counts = (made, *self._counts[:1])
        return made

    def prepare(self, fixed: Sequence[Candidate], view: View) -> None:
        """Compute everything of a new view ahead of the first request that needs it. Call it from the background."""
        self.counts(view, fixed)


def overall(view: View) -> dict[str, Any]:
    """ml.ctr.counters.Raw's numbers of everything."""
    return dict(zip(("global_impressions", "global_clicks", "global_expected"), view.overall, strict=True))


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


def _array(path: Path) -> Any:
    """Mapped into memory, which all processes share; as a plain array, whose indexing is faster than np.memmap's."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
