"""The classical engines beside the transformer: what people who did this also did, factors, likeness of content.

An item is a text: what pages a visitor read, what he bought, which ads he clicked. So an ad has a history next to pages,
and all sizes of an ad are one item. Engines are fitted on acts of consenting visitors before a moment, kept as a
model folder, and ranked together with the transformer's score by weighted reciprocal ranks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from adplatform.learning import embeddings, export
from adplatform.learning.models import EngineFit
from adplatform.learning.profiles import half_life_seconds
from ml import artifacts
from ml.engines import blend, content, covisitation, factors
from ml.engines.covisitation import CoVisitation
from ml.engines.engine import Engine
from ml.engines.factors import Factors
from ml.schema import Floats, Ints, Vectors
from ml.text.encoder import text_hash

KIND = "engines"
TRANSFORMER, CO_VISITS, FACTORS, CONTENT = "transformer", "co-visitation", "factors", "content"
ENGINES = (CO_VISITS, FACTORS, CONTENT)
SHRINKAGE = 10.0  # common visitors that two items need before their likeness counts half
SIZE = 16  # factors; a few hundred ads and pages need no more
TABLE, ITEMS = "engines.npz", "items.json"


@dataclass(frozen=True)
class Engines:
    """Fitted engines over the same items; `code` gives the item of a text's hash."""

    code: Mapping[str, int]
    engines: Mapping[str, Engine]

    def codes(self, texts: Sequence[str]) -> Ints:
        """Item of each text, −1 for one that the engines do not know."""
        return np.array([self.code.get(text_hash(text), -1) for text in texts], np.int64)

    def scores(self, done: export.Acts, visitors: Sequence[str], items: Ints, at: float) -> dict[str, Floats]:
        """By engine, visitors × items, from what they did before `at` (NaN for an item that is not known)."""
        place = {name: row for row, name in enumerate(visitors)}
        of_name = np.array([place.get(name, -1) for name in done.names] or [-1], np.int64)
        what = self.codes(done.texts)
        who, item, time = _history(done, of_name, what, at)
        weight = np.exp2((time - at) / half_life_seconds())  # faded as in profiles
        known = items >= 0
        found = {}
        for name, engine in self.engines.items():
            scores = np.full((len(visitors), len(items)), np.nan)
            scores[:, known] = engine.score_all(who, item, weight, len(visitors))[:, items[known]]
            found[name] = scores
        return found


@dataclass(frozen=True)
class Sources:
    """The engines that serve beside the transformer, and the weight of each."""

    name: str
    fitted: Engines
    weights: Mapping[str, float]

    def order(self, text: Floats, visitors: Sequence[str], items: Ints, at: datetime) -> Vectors:
        """How good each ad is as a candidate: the transformer's scores and the engines', blended by rank."""
        done = export.acts(until=at, visitors=visitors)
        scores = {TRANSFORMER: text} | self.fitted.scores(done, visitors, items, at.timestamp())
        return blend.fused({name: blend.reciprocal_ranks(one) for name, one in scores.items()}, self.weights)


def _history(done: export.Acts, of_name: Ints, what: Ints, at: float) -> tuple[Ints, Ints, Floats]:
    """(visitor, item, time) of the acts before `at` that say what somebody likes."""
    trace = done.trace
    if not len(trace):
        return trace.visitor, trace.text, trace.time
    rows = (trace.time < at) & (of_name[trace.visitor] >= 0) & (what[trace.text] >= 0)
    if trace.weight is not None:
        rows &= trace.weight > 0
    return of_name[trace.visitor[rows]], what[trace.text[rows]], trace.time[rows]


def fit(done: export.Acts, texts: Sequence[str], *, before: float, encoder: str) -> Engines:
    """On the acts strictly before a moment; `texts` of ads are items even where nobody did anything with them."""
    names = list(dict.fromkeys([*done.texts, *texts]))
    code = {text_hash(text): number for number, text in enumerate(names)}
    who, item, time = _history(done, np.arange(len(done.names)), np.arange(len(done.texts)), before)
    return Engines(
        code,
        {
            CO_VISITS: covisitation.fit(
                who, item, time, items=len(names), half_life_seconds=half_life_seconds(), shrinkage=SHRINKAGE
            ),
            FACTORS: factors.fit(who, item, items=len(names), factors=SIZE),
            CONTENT: _content(names, encoder),
        },
    )


def _content(texts: Sequence[str], encoder: str) -> content.Content:
    vectors = embeddings.cached(encoder, texts)
    return content.fit(np.nan_to_num(vectors) if vectors.shape[1] else np.zeros((len(texts), 1), np.float32))


# --- kept as a model folder ---------------------------------------------------------------------------------------


def save(
    fitted: Engines, folder: Path, *, texts: Sequence[str], figures: Mapping[str, Any], encoder: str
) -> None:
    """Write the folder; content needs nothing but the texts, whose vectors are kept by hash."""
    together, mixed = fitted.engines[CO_VISITS], fitted.engines[FACTORS]
    if not isinstance(together, CoVisitation) or not isinstance(mixed, Factors):
        raise TypeError("these are not the platform's engines")
    folder.mkdir(parents=True, exist_ok=True)
    likeness = together.likeness
    np.savez(
        folder / TABLE,
        data=likeness.data,
        indices=likeness.indices,
        indptr=likeness.indptr,
        factors=mixed.item_factors,
    )
    (folder / ITEMS).write_text(json.dumps(list(texts)))
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    artifacts.write(
        folder,
        kind=KIND,
        files=[TABLE, ITEMS],
        metrics=dict(figures),
        schema=encoder,
        seed=0,
        data_range=(now, now),
    )


def load(folder: Path, *, encoder: str) -> Engines:
    """Verified; refused where other vectors are served than content was fitted with."""
    from scipy.sparse import csr_array

    manifest = artifacts.verify(folder, kind=KIND, schema=encoder)
    texts: list[str] = json.loads(artifacts.read(folder, manifest, ITEMS))
    with np.load(folder / TABLE, allow_pickle=False) as table:
        likeness = csr_array(
            (table["data"], table["indices"], table["indptr"]), shape=(len(texts), len(texts))
        )
        engines: dict[str, Engine] = {
            CO_VISITS: CoVisitation(likeness),
            FACTORS: Factors(table["factors"]),
            CONTENT: _content(texts, encoder),
        }
    return Engines({text_hash(text): number for number, text in enumerate(texts)}, engines)


def folder_of(fit: EngineFit) -> Path:
    """Where a fit lies."""
    return Path(settings.MODELS_DIR) / fit.folder


def serving(encoder: str) -> Sources | None:
    """The newest fit, where it is used; None where the transformer retrieves alone."""
    newest = EngineFit.objects.first()
    return fitted(encoder) if newest is not None and newest.is_used else None


def fitted(encoder: str) -> Sources | None:
    """The newest fit, used or not; None where there is none, or its folder is gone or of another encoder."""
    newest = EngineFit.objects.first()
    if newest is None:
        return None
    try:
        return Sources(newest.name, load(folder_of(newest), encoder=encoder), newest.weights)
    except artifacts.ArtifactError:
        return None
