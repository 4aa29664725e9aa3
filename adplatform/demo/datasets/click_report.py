"""Click probabilities of our model on rows that it never saw, beside the prior and simple rates, in one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from adplatform.learning import embeddings
from ml.evaluation import metrics
from ml.schema import Floats
from ml.table.model import fit_predict
from ml.table.reading import Meaning, read_rows

OURS, PRIOR = "ours", "prior"
STRENGTH = 10.0  # impressions that the prior weighs in a simple rate


@dataclass(frozen=True)
class Judged:
    """Probabilities of the test rows by model, with what came of them."""

    predictions: Mapping[str, Floats]
    clicked: Floats
    visitor: np.ndarray
    train_rows: int
    importance: Mapping[str, float]


def judge(
    train: pd.DataFrame, test: pd.DataFrame, meaning: Meaning, *, simple: Mapping[str, Floats]
) -> Judged:
    """Fit on `train`, predict `test`; `simple` are the probabilities of simple models for the test rows."""
    with TemporaryDirectory() as folder:
        files = [Path(folder) / "train.parquet", Path(folder) / "test.parquet"]
        for table, file in zip((train, test), files, strict=True):
            table.to_parquet(file, index=False)
        rows = read_rows(files[0], files[1], meaning)
    vectors = embeddings.vectors(rows.texts) if meaning.text else None
    fitted = fit_predict(rows, vectors=vectors)
    prior = np.full(len(test), train["clicked"].mean())
    return Judged(
        {PRIOR: prior, **simple, OURS: fitted.probability},
        test["clicked"].to_numpy(np.float64),
        test["visitor"].to_numpy(),
        len(train),
        fitted.features,
    )


def rate(train: pd.DataFrame, test: pd.DataFrame, by: str) -> Floats:
    """Each test row's rate of its `by` in the training rows, smoothed to the overall rate."""
    prior = train["clicked"].mean()
    sums = train.groupby(by)["clicked"].agg(["sum", "count"])
    known = sums.reindex(test[by]).fillna(0.0)
    found: Floats = ((known["sum"] + STRENGTH * prior) / (known["count"] + STRENGTH)).to_numpy(np.float64)
    return found


def rate_so_far(table: pd.DataFrame, is_test: np.ndarray, by: str) -> Floats:
    """Each test row's rate of its `by` over all rows of strictly earlier time, smoothed to the overall rate of then.

    `table` is in time order.
    """
    later = pd.DataFrame({by: table[by], "at": table["at"], "clicks": table["clicked"], "shown": 1})
    moments = later.groupby([by, "at"], sort=True)[["clicks", "shown"]].sum()
    own = moments.groupby(level=by).cumsum() - moments
    everything = later.groupby("at")[["clicks", "shown"]].sum().sort_index()
    overall = everything.cumsum() - everything
    before = own.reindex(pd.MultiIndex.from_frame(table[[by, "at"]]))
    prior = overall.reindex(table["at"])
    base = (prior["clicks"].to_numpy() + 1.0) / (prior["shown"].to_numpy() + 2.0)
    p = (before["clicks"].to_numpy() + STRENGTH * base) / (before["shown"].to_numpy() + STRENGTH)
    found: Floats = np.asarray(p[is_test], np.float64)
    return found


def figures(judged: Judged) -> dict[str, Any]:
    """The figures of every model, and what ours saves on the best other (log loss per row, mean, low, high)."""
    models = {name: metrics.summary(p, judged.clicked) for name, p in judged.predictions.items()}
    rival = min((name for name in models if name != OURS), key=lambda name: models[name]["ne"])
    losses = {name: metrics.row_losses(judged.predictions[name], judged.clicked) for name in (rival, OURS)}
    return {
        "train_rows": judged.train_rows,
        "test_rows": len(judged.clicked),
        "models": models,
        "best_other": rival,
        "saved": list(metrics.mean_interval(losses[rival] - losses[OURS], judged.visitor)),
        "importance": dict(list(judged.importance.items())[:10]),
    }


def lines(found: Mapping[str, Any], names: Mapping[str, str], *, about: str) -> Iterator[str]:
    """The table for people; `names` say what the models are."""
    yield f"{about}: {found['train_rows']:,} rows teach, {found['test_rows']:,} judge"
    titles = ("NE", "log loss", "AUC", "calibration", "calibration error")
    yield f"  {'':34}" + "".join(f"{title:>19}" for title in titles)
    for name, row in found["models"].items():
        cells = [row[key] for key in ("ne", "log_loss", "auc", "calibration", "ece")]
        yield f"  {names[name]:34}" + "".join(f"{value:19.4f}" for value in cells)
    mean, low, high = found["saved"]
    rival = names[found["best_other"]]
    verdict = "ours is better" if low > 0 else "ours is worse" if high < 0 else "no difference beyond noise"
    yield f"  beside {rival}: {verdict} (log loss saved per row {mean:+.5f}, 95 % {low:+.5f} to {high:+.5f})"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in list(found["importance"].items())[:5])
    yield f"  what our model looks at: {shares}"
