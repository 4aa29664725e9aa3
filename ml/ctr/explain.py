"""Why the blender gave a probability: exact contributions of every feature, in log odds, grouped as people think.

LightGBM's own TreeSHAP (`pred_contrib`), so that nothing is estimated:

    logit(pCTR) = base + Σ contributions + level

`base` is what the trees say on average, `level` the calibration's shift. It costs milliseconds a row, against
microseconds for a prediction: for decisions that somebody asks about, never in a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.ctr.blender import Blender
from ml.schema import Floats, Vectors

HISTORY, TEXT, QUALITY = "history", "text_match", "ad_quality"
CONTEXT, FATIGUE, EXPLORATION = "context", "fatigue", "exploration"
GROUPS = (TEXT, HISTORY, QUALITY, CONTEXT, FATIGUE, EXPLORATION)

# By what a feature's name begins with; the first that fits counts, and what fits none is context.
# How little is known of an ad belongs to exploration: that is what earns a new one its chance.
_BEGINNINGS = (
    ("text", TEXT),
    ("frequency", FATIGUE),
    ("seen", FATIGUE),
    ("visitor", HISTORY),
    ("has_profile", HISTORY),
    ("creative_log_impressions", EXPLORATION),
    ("line_item_log_impressions", EXPLORATION),
    ("campaign_log_impressions", EXPLORATION),
    ("advertiser_log_impressions", EXPLORATION),
    ("creative", QUALITY),
    ("line_item", QUALITY),
    ("campaign", QUALITY),
    ("advertiser", QUALITY),
)
MOST_ROWS = 1_000  # of a sample for global importance: some seconds with large trees
ROWS_AT_ONCE = 500


def group_of(feature: str) -> str:
    """The human group of a feature."""
    return next((group for start, group in _BEGINNINGS if feature.startswith(start)), CONTEXT)


@dataclass(frozen=True)
class Contributions:
    """Rows by features in log odds. `level` of each row is what calibration added after the trees."""

    names: tuple[str, ...]
    values: Floats  # (rows, features)
    base: Floats  # (rows,)
    level: Floats  # (rows,)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def logit(self) -> Floats:
        """Log odds of the calibrated probability: everything added up."""
        total: Floats = self.base + self.values.sum(axis=1) + self.level
        return total

    def by_group(self) -> dict[str, Floats]:
        """The same sum in six parts; a group without features is zero."""
        sums = {group: np.zeros(len(self)) for group in GROUPS}
        for column, name in enumerate(self.names):
            sums[group_of(name)] = sums[group_of(name)] + self.values[:, column]
        return sums


def contributions(blender: Blender, X: Vectors, *, calibrated: Floats | None = None) -> Contributions:
    """Explain these feature rows (ml.ctr.features.build).

    `calibrated`: the probabilities that were served for them, from which the level follows; without it, none.
    """
    parts = [
        blender.contributions(X[start : start + ROWS_AT_ONCE]) for start in range(0, len(X), ROWS_AT_ONCE)
    ]
    names = tuple(blender.names)
    table = np.vstack(parts) if parts else np.empty((0, len(names) + 1))
    values, base = table[:, :-1], table[:, -1]
    raw = base + values.sum(axis=1)
    level = np.zeros(len(raw)) if calibrated is None else logit(calibrated) - raw
    return Contributions(names, values, base, level)


def importance(blender: Blender, X: Vectors, *, seed: int = 0, most_rows: int = MOST_ROWS) -> dict[str, Any]:
    """How much each group and feature moves a prediction: the mean of |contribution| over a sample of rows.

    {"groups": {name: log odds}, "features": {name: log odds}, "rows": n}, largest first.
    """
    rows = np.random.default_rng(seed).permutation(len(X))[:most_rows]
    found = contributions(blender, X[rows])
    features = dict(zip(found.names, _mean_size(found.values.T), strict=True))
    groups = dict(zip(GROUPS, _mean_size(list(found.by_group().values())), strict=True))
    return {"groups": _largest_first(groups), "features": _largest_first(features), "rows": len(found)}


def logit(p: Floats) -> Floats:
    """Log odds, finite for probabilities of 0 and 1."""
    kept = np.clip(np.asarray(p, np.float64), 1e-12, 1 - 1e-12)
    odds: Floats = np.log(kept) - np.log1p(-kept)
    return odds


def _mean_size(columns: Sequence[Floats] | Floats) -> list[float]:
    return [float(np.abs(column).mean()) if len(column) else 0.0 for column in columns]


def _largest_first(sizes: dict[str, float]) -> dict[str, float]:
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
