"""Would an engine's score help the blender as a feature? Normalised entropy with and without, on later impressions.

For each day the engines are fitted on what was done before it, and score the day's pairs of visitor and ad by what the
visitor had done by then. The trees are the blender's own, on the same rows; only the columns differ. It takes a training's
time, and is asked for by `manage.py engines --feature`; nothing that serves depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from adplatform.campaigns.models import Creative
from adplatform.learning import dataset, engines, export, registry, training
from adplatform.learning.engines import ENGINES
from ml.ctr import features
from ml.ctr.blender import train_blender
from ml.ctr.replay import replay
from ml.ctr.train import DAY_SECONDS, Split
from ml.evaluation import metrics
from ml.schema import Floats, Ints

SHARES = (0.64, 0.8)  # of time: trains, stops the trees; the rest is the test
BASE = "without"


@dataclass(frozen=True)
class Gain:
    """Normalised entropy with these columns, and what they save of log loss per impression (95 %, by visitor)."""

    columns: str
    ne: float
    saved: tuple[float, float, float]


def measure(*, at: datetime, seed: int = 0) -> list[Gain]:
    """Without any engine, with each, and with all."""
    data = dataset.build(until=at)
    first, second = np.quantile(data.log.time, SHARES)
    time = data.log.time
    split = Split(time <= first, (time > first) & (time <= second), time > second)
    prepared = training.Material(data, replay(data.log), split)
    fitted = training.fit_matcher(prepared, seed=seed)
    if fitted is None:
        return []
    X = features.build({**prepared.raw, "text_score": fitted.scores})
    columns = _columns(data, at)
    rows = (split.train | split.validation) & ~fitted.warm_up
    test = split.test
    y = data.log.clicked

    def predicted(names: tuple[str, ...]) -> Floats:
        both = np.hstack([X, *(columns[name][:, None] for name in names)]).astype(np.float32)
        trees = train_blender(
            both[rows],
            y[rows],
            time_order=time[rows],
            latest_share=float(split.validation[rows].mean()),
            refit=False,
            seed=seed,
            names=(*features.NAMES, *(name.replace("-", "_") for name in names)),
        )
        return trees.predict(both[test])

    alone = np.char.add("row ", np.arange(len(time)).astype(str)).astype(object)
    who = np.where(data.log.visitor.astype(str) == "", alone, data.log.visitor)[test].astype(str)
    base = predicted(())
    found = [Gain(BASE, metrics.normalised_entropy(base, y[test]), (0.0, 0.0, 0.0))]
    for names in (*((name,) for name in ENGINES), ENGINES):
        p = predicted(names)
        saved = metrics.row_losses(base, y[test]) - metrics.row_losses(p, y[test])
        found.append(
            Gain(" + ".join(names), metrics.normalised_entropy(p, y[test]), metrics.mean_interval(saved, who))
        )
    return found


def _columns(data: dataset.Dataset, at: datetime) -> dict[str, Floats]:
    """Each impression's scores, NaN without a visitor or before anybody did anything."""
    done = export.acts(until=at)
    encoder = registry.serving_encoder()
    log = data.log
    text_of = {one.pk: one.text for one in Creative.objects.filter(pk__in=np.unique(log.creative).tolist())}
    columns = {name: np.full(len(log), np.nan) for name in ENGINES}
    for start, rows in _days(log.time):
        if not (done.trace.time < start).any():
            continue
        texts = list(dict.fromkeys(text_of[number] for number in log.creative[rows].tolist()))
        fitted = engines.fit(done, texts, before=start, encoder=encoder)
        visitors, who = np.unique(log.visitor[rows].astype(str), return_inverse=True)
        ads = {text: number for number, text in enumerate(texts)}
        ad = np.array([ads[text_of[number]] for number in log.creative[rows].tolist()], np.int64)
        scores = fitted.scores(done, visitors.tolist(), fitted.codes(texts), start)
        for name, table in scores.items():
            columns[name][rows] = np.where(visitors[who] == "", np.nan, table[who, ad])
    return columns


def _days(time: Floats) -> Iterator[tuple[float, Ints]]:
    """(start, rows) of each UTC day."""
    day = np.floor(time / DAY_SECONDS)
    for one in np.unique(day).tolist():
        yield one * DAY_SECONDS, np.flatnonzero(day == one)
