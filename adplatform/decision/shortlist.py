"""Who of the eligible is ranked: the first stage of a decision, for a market of any size.

An ad's worth to an auction is its bid times its click probability. The models are asked for the probability of some
fifty ads; which fifty follows from what is cheap: the worth of a click to the ad, and log odds by a straight line, which
are the ad's standing and the request's lift of it (its text score). Ads that pay per impression are ordered by their
worth alone, exactly, and have places of their own, since click odds say nothing about them.

Even a straight line over thousands of eligible ads costs more than all the rest. So ads are sorted by what does not
depend on the request, once per view of the statistics, into nested tiers as bitmaps: a request looks at the smallest
tier in which enough of its eligible ads stand. The place of an ad in this order says little about one request, hence
"enough" is many times the places there are.
"""

from __future__ import annotations

import numpy as np

from .bidding import unpaced_worth
from .bitmaps import bits_of
from .candidates import CandidateSet
from .types import BoolArray, FloatArray, IntArray

SMALLEST_TIER = 512
TIER_STEP = 2
LOOKED_AT = 8  # eligible ads that are looked at for each place in the ranking
CPM_SHARE = 5  # one in so many places is for ads that pay per impression
_LEAST = 1e-12


class Shortlist:
    """A candidate set in the order of what it promises. Immutable; a new view of the statistics makes a new one.

    `base`: logarithm of each ad's expected worth before the request adds its lift, up to a constant that differs between
    those who pay per click and per view.
    """

    def __init__(self, fixed: CandidateSet, standing: FloatArray) -> None:
        self.base = base_value(fixed, np.arange(len(fixed)), standing, fixed.pace)
        self._clicks = _tiers(self.base, fixed.pays_per_click)
        self._views = _tiers(self.base, ~fixed.pays_per_click)

    def narrowed(self, eligible: int, ranked: int) -> int:
        """The eligible of the smallest tiers that hold enough of them, as a bitmap."""
        views = ranked // CPM_SHARE
        return _enough(self._clicks, eligible, LOOKED_AT * ranked) | _enough(self._views, eligible, 2 * views)


def base_value(fixed: CandidateSet, rows: IntArray, standing: FloatArray, pace: FloatArray) -> FloatArray:
    """`Shortlist.base` of some rows; `standing` has one value per row asked for, `pace` one per row of the set."""
    worth = unpaced_worth(fixed, rows) * np.clip(pace[rows], 0.0, fixed.pace_limit[rows])
    value: FloatArray = np.log(np.maximum(worth, _LEAST))
    return np.where(fixed.pays_per_click[rows], value + standing, value)


def chosen(value: FloatArray, pays_per_click: BoolArray, ids: IntArray, ranked: int) -> IntArray:
    """Positions of the `ranked` best: most by click, a share by view; either side fills what the other leaves. Equal
    values go to the lower id, so that the order of candidates changes nothing."""
    (clicks,), (views,) = pays_per_click.nonzero(), (~pays_per_click).nonzero()
    of_views = min(len(views), max(ranked // CPM_SHARE, ranked - len(clicks)))
    of_clicks = min(len(clicks), ranked - of_views)
    best = [
        side[_best(value[side], ids[side], places)]
        for side, places in ((clicks, of_clicks), (views, of_views))
        if places
    ]
    return np.sort(np.concatenate(best))


def _best(value: FloatArray, ids: IntArray, places: int) -> IntArray:
    if len(value) <= places:
        return np.arange(len(value))
    order = np.argpartition(value, len(value) - places)
    least = value[order[len(value) - places]]
    best: IntArray = order[len(value) - places :]
    if len(level := (value == least).nonzero()[0]) == 1:
        return best
    level = level[np.argsort(ids[level], kind="stable")]
    sure = best[value[best] > least]
    return np.concatenate([sure, level[: places - len(sure)]])


def _tiers(value: FloatArray, members: BoolArray) -> tuple[int, ...]:
    """Nested bitmaps of the best 512, 1,024, … of the members, and of all of them."""
    order = np.flatnonzero(members)
    order = order[np.argsort(-value[order], kind="stable")]
    tiers, size = [], SMALLEST_TIER
    flags = np.zeros(len(members), np.bool_)
    while size < len(order):
        flags[order[:size]] = True
        tiers.append(bits_of(flags))
        size *= TIER_STEP
    return (*tiers, bits_of(members))


def _enough(tiers: tuple[int, ...], eligible: int, wanted: int) -> int:
    found = 0
    for tier in tiers:
        found = eligible & tier
        if found.bit_count() >= wanted:
            break
    return found
