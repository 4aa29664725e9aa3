"""Level calibration: one factor on the odds, from the freshest window, kept only if it wins on a later one.

Under drift, maps with more parameters fitted on older data make calibration worse; one factor does not.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.evaluation.metrics import log_loss
from ml.schema import Column, Floats

FILE = "level.json"
PRIOR_CLICKS = 20.0  # as if that many clicks had come exactly as predicted
FRESHEST_SHARE = 0.15
FARTHEST = 5.0  # |ln factor| beyond this is a broken model, not a level


@dataclass(frozen=True)
class Level:
    """odds × factor; a factor of 1 changes nothing."""

    factor: float = 1.0

    def apply(self, p: Floats) -> Floats:
        """Probabilities moved by the factor."""
        moved: Floats = self.factor * p / (1 - p + self.factor * p)
        return moved

    def save(self, folder: Path | str) -> str:
        """Write the factor into the folder; returns the file's name for its manifest."""
        (Path(folder) / FILE).write_text(json.dumps({"factor": self.factor}))
        return FILE


def fit_level(
    p: Floats, y: Floats, weight: Floats | None = None, *, prior_clicks: float = PRIOR_CLICKS
) -> Level:
    """The factor after which predicted and observed clicks agree, shrunk towards 1 by `prior_clicks`."""
    weight = np.ones(len(p)) if weight is None else weight
    if len(p) == 0 or float((weight * p).sum()) <= 0:
        return Level()
    shrink = prior_clicks / (prior_clicks + float((weight * p).sum()))
    target = float((weight * ((1 - shrink) * y + shrink * p)).sum())
    low, high = -FARTHEST, FARTHEST
    for _ in range(60):
        middle = (low + high) / 2
        if float((weight * Level(float(np.exp(middle))).apply(p)).sum()) < target:
            low = middle
        else:
            high = middle
    return Level(float(np.exp((low + high) / 2)))


def freshest_level(
    p: Floats, y: Floats, time_order: Column, *, weight: Floats | None = None, share: float = FRESHEST_SHARE
) -> Level:
    """The level of the freshest share of rows the model was not fitted on, or none.

    Its older half proposes a factor; only if that lowers the log loss of the newer half is the whole window's
    factor used.
    """
    order = np.argsort(time_order, kind="stable")
    window = order[int(len(order) * (1 - share)) :]
    older, newer = window[: len(window) // 2], window[len(window) // 2 :]
    if len(older) == 0:
        return Level()

    def part(rows: Column) -> tuple[Floats, Floats, Floats | None]:
        return p[rows], y[rows], None if weight is None else weight[rows]

    proposed = fit_level(*part(older))
    p_newer, y_newer, w_newer = part(newer)
    wins = log_loss(proposed.apply(p_newer), y_newer, w_newer) < log_loss(p_newer, y_newer, w_newer)
    return fit_level(*part(window)) if wins else Level()


def reliability(p: Floats, y: Floats, *, bins: int = 10) -> dict[str, Any]:
    """Bins of equal numbers of rows: {"bins": [{"predicted", "observed", "low", "high", "rows"}], "ece"}.

    `low` and `high` are Wilson's 95 % interval of the observed rate; `ece` the mean |observed − predicted| by rows.
    """
    parts = [part for part in np.array_split(np.argsort(p, kind="stable"), bins) if len(part)]
    found = [_bin(p[part], y[part]) for part in parts]
    gap = sum(abs(one["observed"] - one["predicted"]) * one["rows"] for one in found)
    return {"bins": found, "ece": gap / len(p) if len(p) else float("nan")}


def _bin(p: Floats, y: Floats) -> dict[str, float]:
    n, observed, z = len(p), float(y.mean()), 1.959964
    middle = (observed + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(observed * (1 - observed) / n + z * z / (4 * n * n))
    return {
        "predicted": float(p.mean()),
        "observed": observed,
        "low": max(0.0, middle - half),
        "high": min(1.0, middle + half),
        "rows": n,
    }
