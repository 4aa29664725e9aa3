"""Which ads are worth ranking: a sum of curves through what the trees say, cheap enough for every ad there is.

The trees read some twenty features of an ad in a place; over thousands of ads that is too dear. What differs from ad to
ad within one request are the text score, the ad's rates and how well they are known. A least-squares fit of the trees'
log odds gives each of these a curve, straight between a dozen knots, with the other features held still. That is good
enough to choose who is ranked; who is ranked is then scored by the trees. (Learned cascades: Wang, Lin, Metzler 2011;
additive models as a student: Tan et al. 2018.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from ml.ctr.features import NAMES, AdSide
from ml.schema import Floats, Ints, Vectors

FILE = "first_stage.json"
TEXT = "text_score"
OF_ADS = (
    "creative_ctr",
    "creative_recent_ctr",
    "line_item_ctr",
    "creative_log_impressions",
    "line_item_log_impressions",
)
KNOTS = 12
SHORT_DIMENSIONS = 64  # of the vectors that lifts are computed from
TOPICS = 32  # of ads, at most
LEAST_OF_TOPIC = 500
ROUNDS = 8
MOST_OF_SAMPLE = 10_000
PENALTY = 1e-3  # of the mean squared column: keeps curves that go together from fighting
MOST_ROWS = 200_000
LEAST_RATE = 1e-6


class Curve(msgspec.Struct, frozen=True):
    """Straight between its knots, level beyond them."""

    at: list[float]
    value: list[float]

    def __call__(self, x: Floats) -> Floats:
        found: Floats = np.interp(x, self.at, self.value)
        return found


@dataclass(frozen=True)
class FirstStage:
    """Log odds that an ad adds to a request's own: a curve of its text score, and its standing.

    `explained`: share of the variance of the trees' log odds that all curves together explain, on the rows of the fit.
    """

    curves: Mapping[str, Curve]
    explained: float = float("nan")

    def lift(self, text_score: Floats) -> Floats:
        """What the text score adds."""
        if self._of_text is None:
            return np.zeros(len(text_score))
        found: Floats = np.interp(text_score, *self._of_text)
        return found

    @cached_property
    def _of_text(self) -> tuple[Floats, Floats] | None:
        """The text score's curve as arrays: a request would spend more on making them than on reading them."""
        curve = self.curves.get(TEXT)
        return None if curve is None else (np.array(curve.at), np.array(curve.value))

    def standing(self, ads: AdSide) -> Floats:
        """What does not depend on the request. The recent rate is taken as the rate of all time, which fades no further."""
        rate, line_item = _log(ads.creative), _log(ads.line_item)
        columns = (rate, rate, line_item, ads.creative_log_impressions, ads.line_item_log_impressions)
        total = np.zeros(len(rate))
        for name, column in zip(OF_ADS, columns, strict=True):
            if name in self.curves:
                total += self.curves[name](column)
        return total

    def save(self, folder: Path | str) -> str:
        """Write it into the folder; returns the file's name for its manifest."""
        (Path(folder) / FILE).write_bytes(msgspec.json.encode(self))
        return FILE

    @classmethod
    def parse(cls, data: bytes) -> FirstStage:
        """The inverse of `save`."""
        return msgspec.json.decode(data, type=cls)


def fallback(*, text_weight: float) -> FirstStage:
    """Where no trees were trained: the creative's rate as it is, and this weight of the text score."""
    rates = [float(np.log(LEAST_RATE)), 0.0]
    scores = [-10.0, 10.0]
    return FirstStage(
        {
            "creative_ctr": Curve(rates, rates),
            TEXT: Curve(scores, [text_weight * score for score in scores]),
        }
    )


def fit(X: Vectors, log_odds: Floats) -> FirstStage:
    """Curves through the trees' log odds over feature rows; the newest `MOST_ROWS` are enough."""
    X, log_odds = X[-MOST_ROWS:], log_odds[-MOST_ROWS:]
    columns = {name: _column(X, name) for name in NAMES}
    knots = {name: _knots(columns[name]) for name in (TEXT, *OF_ADS)}
    blocks = {
        name: _hats(columns[name], knots[name]) if name in knots else columns[name][:, None] for name in NAMES
    }
    Z = np.concatenate(list(blocks.values()), axis=1)
    centre, scale = Z.mean(axis=0), np.maximum(Z.std(axis=0), 1e-9)
    Z = (Z - centre) / scale
    target = log_odds - log_odds.mean()
    found = np.linalg.solve(Z.T @ Z + PENALTY * len(Z) * np.eye(Z.shape[1]), Z.T @ target)
    left, total = target - Z @ found, float(target @ target)
    ends = np.cumsum([block.shape[1] for block in blocks.values()])
    weights = dict(zip(blocks, np.split(found / scale, ends[:-1]), strict=True))
    return FirstStage(
        {
            name: Curve(knots[name].tolist(), weights[name].tolist())
            for name in (TEXT, *OF_ADS)
            if len(knots[name]) > 1
        },
        explained=1 - float(left @ left) / total if total > 0 else 0.0,
    )


def _column(X: Vectors, name: str) -> Floats:
    """A feature as its curve reads it: rates by their logarithm, what is missing at the mean."""
    column: Floats = X[:, NAMES.index(name)].astype(np.float64)
    if name.endswith("_ctr"):
        column = _log(column)
    known = ~np.isnan(column)
    return np.where(known, column, column[known].mean() if known.any() else 0.0)


def _log(rate: Floats) -> Floats:
    found: Floats = np.log(np.maximum(rate, LEAST_RATE))
    return found


def _knots(column: Floats) -> Floats:
    return np.unique(np.quantile(column, np.linspace(0.0, 1.0, KNOTS)))


def _hats(column: Floats, knots: Floats) -> Floats:
    """The share that each knot has in a value: a value between two knots is parted between them."""
    if len(knots) == 1:
        return np.zeros((len(column), 1))
    return np.stack([np.interp(column, knots, one) for one in np.eye(len(knots))], axis=1)


def topics_of(vectors: Vectors, count: int = TOPICS) -> tuple[Ints, Vectors]:
    """Texts that lie close to one another: the topic of each vector, and by topic its centre with the deviation of its
    members' scores (for a reader of length 1) in a last column.

    Lloyd's k-means from vectors taken evenly over the list, so that the same texts always make the same topics.
    """
    count = max(1, min(count, len(vectors) // LEAST_OF_TOPIC))
    sample = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_OF_SAMPLE)).astype(np.int64)]
    centres = sample[np.linspace(0, len(sample) - 1, count).astype(np.int64)].copy()
    for _ in range(ROUNDS):
        nearest = _nearest(sample, centres)
        for one in range(count):
            members = sample[nearest == one]
            if len(members):
                centres[one] = members.mean(axis=0)
    topic = _nearest(vectors, centres)
    apart = ((vectors - centres[topic]) ** 2).mean(axis=1)
    spread = np.bincount(topic, weights=apart, minlength=count) / np.maximum(
        np.bincount(topic, minlength=count), 1
    )
    described: Vectors = np.column_stack([centres, np.sqrt(spread)]).astype(np.float32)
    return topic, described


def _nearest(vectors: Vectors, centres: Vectors) -> Ints:
    half = (centres**2).sum(axis=1) / 2
    parts = (vectors[start : start + MOST_OF_SAMPLE] for start in range(0, len(vectors), MOST_OF_SAMPLE))
    found: Ints = np.concatenate([(part @ centres.T - half).argmax(axis=1) for part in parts])
    return found


def axes_of(vectors: Vectors, count: int = SHORT_DIMENSIONS) -> Vectors:
    """The directions along which these vectors are longest, as columns: their scores with a reader are nearly those of
    all dimensions (principal components without centring, since scores are no distances)."""
    _, found = np.linalg.eigh(vectors.T @ vectors)
    return np.ascontiguousarray(found[:, : -count - 1 : -1], np.float32)
