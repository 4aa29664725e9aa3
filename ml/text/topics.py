"""How much a whole group of rivals is clicked, told by what its texts are about.

A conditional logit never learns that: a group's level cancels in it. Between groups it counts for far more than
wording does within them (docs/ml.md). A Gaussian process over the groups' mean vectors: a straight line for what holds
everywhere, and likeness to single earlier groups for what holds near them.
"""

from __future__ import annotations

import numpy as np

from ml.schema import Floats, Ints
from ml.text.conditional import Rivals

NEIGHBOURS = 61  # groups around one in time that tell the level it is compared with
LINE_VARIANCE, LIKENESS_VARIANCE, SIZE_VARIANCE = 0.001, 0.06, 0.01
LIKENESS_REACH = 3.0  # how fast likeness falls, in mean squared distances between groups
OWN_VARIANCE = 0.1  # of the log click rate of a group, apart from its topic and from chance
LIFT_PENALTY = 3_000.0  # stronger than the line's own: one number has to do for all that lifts a text
MOST_GROUPS = 4_000  # the newest ones; time grows with the cube
KEPT_GROUPS = 6_000  # the likeness of so many (290 MB) is computed once for all moments


class TopicLevels:
    """Log click rates of groups against their time's level. `vectors` has a row per text."""

    def __init__(self, vectors: Floats, text: Ints, group: Ints) -> None:
        pairs = np.unique(np.column_stack([group, text]), axis=0)
        size = np.bincount(pairs[:, 0], minlength=int(group.max()) + 1)
        self._mean: Floats = np.zeros((len(size), vectors.shape[1]))
        np.add.at(self._mean, pairs[:, 0], vectors[pairs[:, 1]])
        self._mean /= np.maximum(size, 1)[:, None]
        self._size: Floats = np.log(np.maximum(size, 1)).astype(np.float64)
        self._distance = max(2.0 * float(self._mean.var(axis=0).sum()), 1e-12)
        self._kept: Floats | None = None

    def scores(self, past: Rivals, wanted: Ints) -> Floats:
        """Expected log rates of the wanted groups, learnt from the past, whose rows are in order of time."""
        from scipy.linalg import solve

        known, rate, noise = _log_rates(past)
        share = (1 / noise) / (1 / noise).sum()  # the mean is known best where chance counts least
        among = self._likeness(known, known)
        mean = among @ share
        centred = among - mean[:, None] - mean + share @ mean
        weights = solve(centred + np.diag(noise), rate - share @ rate, assume_a="pos")
        distinct, place = np.unique(wanted, return_inverse=True)
        seen = self._likeness(distinct, known)
        found: Floats = (seen - (seen @ share)[:, None] - mean + share @ mean) @ weights
        return found[place]

    def _likeness(self, one: Ints, other: Ints) -> Floats:
        """Prior covariance of groups' levels."""
        if len(self._size) > KEPT_GROUPS:
            return self._covariance(one, other)
        if self._kept is None:
            every = np.arange(len(self._size))
            self._kept = self._covariance(every, every)
        return self._kept[np.ix_(one, other)]

    def _covariance(self, one: Ints, other: Ints) -> Floats:
        a, b = self._mean[one], self._mean[other]
        product = a @ b.T
        apart = np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * product, 0.0)
        near = np.exp(-LIKENESS_REACH * apart / self._distance)
        sizes = np.outer(self._size[one], self._size[other])
        covariance: Floats = LINE_VARIANCE * product + LIKENESS_VARIANCE * near + SIZE_VARIANCE * sizes
        return covariance


def lifting(vectors: Floats, past: Rivals) -> Floats:
    """One number a text: what groups of such texts draw, by a straight line over the groups' mean vectors.

    What lifts a whole group lifts a text above its rivals too, and groups of one text, of which a conditional logit
    learns nothing, tell it as well. Mean 0 and spread 1 over all texts; 0 where groups tell nothing.
    """
    from scipy.linalg import solve

    known, rate, noise = _log_rates(past)
    groups, group = np.unique(past.group, return_inverse=True)
    place = np.full(len(groups), len(known))  # of those older than the newest
    place[np.searchsorted(groups, known)] = np.arange(len(known))
    code = place[group]
    mean = np.zeros((len(known) + 1, vectors.shape[1]))
    np.add.at(mean, code, vectors[past.text])
    mean = mean[:-1] / np.bincount(code, minlength=len(known) + 1)[:-1, None]
    weight = 1 / noise
    mean -= np.average(mean, axis=0, weights=weight)
    gram = mean.T @ (weight[:, None] * mean) + LIFT_PENALTY * np.eye(mean.shape[1])
    line = solve(gram, mean.T @ (weight * (rate - np.average(rate, weights=weight))), assume_a="pos")
    found = vectors @ line
    spread = float(found.std())
    lifted: Floats = (found - found.mean()) / spread if spread > 0 else np.zeros(len(found))
    return lifted


def _log_rates(past: Rivals) -> tuple[Ints, Floats, Floats]:
    """(groups, their log click rates against the groups around them in time, variance of these)."""
    groups, code = np.unique(past.group, return_inverse=True)
    clicks: Floats = np.bincount(code, weights=past.clicks).astype(np.float64)
    shown: Floats = np.bincount(code, weights=past.impressions).astype(np.float64)
    last = np.zeros(len(groups), dtype=np.int64)
    last[code] = np.arange(len(code))
    order = np.argsort(last)[-MOST_GROUPS:]
    base = _moving_sum(clicks[order]) / _moving_sum(shown[order])
    expected = shown[order] * base
    rate: Floats = np.log((clicks[order] + 0.5) / (expected + 0.5))
    return groups[order], rate, OWN_VARIANCE + 1 / (clicks[order] + 1)


def _moving_sum(values: Floats) -> Floats:
    """Over NEIGHBOURS values around each; fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    half = NEIGHBOURS // 2
    summed: Floats = total[np.minimum(place + half + 1, len(values))] - total[np.maximum(place - half, 0)]
    return summed
