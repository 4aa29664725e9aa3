"""Who of the eligible is ranked: the first stage of a decision, for a market of any size.

An ad's worth to an auction is its bid times its click probability. The models are asked for the probability of some
fifty ads; which fifty follows from what is cheap: the worth of a click to the ad, and log odds by a straight line, which
are the ad's standing and the request's lift of it (its text score). Ads that pay per impression are ordered by their
worth alone, exactly, and have places of their own, since click odds say nothing about them.

Even a straight line over thousands of eligible ads costs more than all the rest. So ads are sorted once per view of the
statistics: by topic (ads whose texts lie close to one another) and then by what does not depend on the request. A
request lifts whole topics, and looks at the ads of each topic from the top down to where those of all topics that
promise more are enough: many times the places there are, since an ad is not its topic. (An inverted file over k-means
cells, Jégou, Douze, Schmid 2011, whose lists are in the order of a part of the score.)
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .bidding import unpaced_worth
from .candidates import CandidateSet
from .native import kernels
from .postings import flags_of
from .types import BoolArray, FloatArray, IntArray

SHORTEST = 8  # ads of a topic that are looked at together, from the top; then as many as all before
LOOKED_AT = 8  # eligible ads that are looked at for each place in the ranking
CPM_SHARE = 5  # one in so many places is for ads that pay per impression
_LEAST = 1e-12


class Shortlist:
    """A candidate set in the order of what it promises. Immutable; a new view of the statistics makes a new one.

    `topic`: of each ad, from 0; without it all are of one. `base`: logarithm of each ad's expected worth before the
    request adds its lift, up to a constant that differs between those who pay per click and per view.
    """

    def __init__(self, fixed: CandidateSet, standing: FloatArray, topic: IntArray | None = None) -> None:
        everybody = np.arange(len(fixed))
        self.base = base_value(fixed, everybody, standing, fixed.pace)
        self._clicks = _Stretches(self.base, everybody[fixed.pays_per_click], topic)
        self._views = _Stretches(self.base, everybody[~fixed.pays_per_click], None)

    def narrowed(self, eligible: int, ranked: int, lifts: FloatArray | None = None) -> IntArray:
        """Eligible rows, many for each place in the ranking, of those who promise most. `lifts`: of each topic by the
        request."""
        share = eligible.bit_count() / len(self.base)
        marks = _Marks(eligible, len(self.base))
        return np.concatenate(
            [
                self._clicks.best(marks, LOOKED_AT * ranked, share, lifts),
                self._views.best(marks, 2 * (ranked // CPM_SHARE), share, None),
            ]
        )


class _Marks:
    """Who is eligible, in the two forms that it is read in."""

    def __init__(self, eligible: int, size: int) -> None:
        self.packed = eligible.to_bytes((size + 7) // 8, "little")
        self._eligible, self._size = eligible, size

    @cached_property
    def flags(self) -> BoolArray:
        return flags_of(self._eligible, self._size)


class _Stretches:
    """Ads by topic, the best of each first, in stretches of 8, 8, 16, 32 …"""

    def __init__(self, base: FloatArray, rows: IntArray, topic: IntArray | None) -> None:
        group = np.zeros(len(rows), np.int64) if topic is None else topic[rows]
        order = np.lexsort((rows, -base[rows], group))
        self._rows = rows[order]
        starts, ends = _stretches(group[order])
        self._starts, self._sizes = starts, ends - starts
        self._topic = group[order][starts].astype(np.int64)
        self._promise = base[self._rows[starts]]  # of a stretch's best

    def best(self, marks: _Marks, wanted: int, share: float, lifts: FloatArray | None) -> IntArray:
        """At least `wanted` eligible rows, where there are as many; `share` of all are eligible."""
        needed = wanted / max(share, _LEAST)
        if kernels is not None:
            return self._natively(marks.packed, wanted, needed, lifts)
        promise = self._promise if lifts is None else self._promise + lifts[self._topic]
        order = (-promise).argsort(kind="stable")
        sizes = self._sizes[order]
        reach, flags = sizes.cumsum(), marks.flags
        while True:
            taken = min(int(reach.searchsorted(needed)) + 1, len(order))
            found = self._rows[_places(self._starts[order[:taken]], sizes[:taken], reach[:taken])]
            found = found[flags[found]]
            if len(found) >= wanted or taken == len(order):
                return found
            needed *= 2

    def _natively(self, eligible: bytes, wanted: int, needed: float, lifts: FloatArray | None) -> IntArray:
        found = np.empty(len(self._rows), np.int64)
        stretches = (self._starts, self._sizes, self._topic, self._promise)
        size = len(self._starts)
        count = kernels.narrowed(eligible, *stretches, lifts, self._rows, size, wanted, needed, found)
        return found[:count]


def _places(starts: IntArray, sizes: IntArray, reach: IntArray) -> IntArray:
    """The numbers of all places in stretches; `reach` are the sizes summed up."""
    places: IntArray = (starts - reach + sizes).repeat(sizes)
    places += np.arange(len(places))
    return places


def _stretches(group: IntArray) -> tuple[IntArray, IntArray]:
    """Where stretches of a sorted column begin and end: at each new value, and at 8, 16, 32 … after it."""
    if not len(group):
        return group, group
    firsts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    lengths = np.diff(firsts, append=len(group))
    steps = np.array([0, *(SHORTEST << power for power in range(40))], np.int64)
    inside = steps < lengths[:, None]
    starts = (firsts[:, None] + steps)[inside]
    return starts, np.append(starts[1:], len(group))


def base_value(fixed: CandidateSet, rows: IntArray, standing: FloatArray, pace: FloatArray) -> FloatArray:
    """`Shortlist.base` of some rows; `standing` has one value per row asked for, `pace` one per row of the set."""
    worth = unpaced_worth(fixed, rows) * np.clip(pace[rows], 0.0, fixed.pace_limit[rows])
    value: FloatArray = np.log(np.maximum(worth, _LEAST))
    return np.where(fixed.pays_per_click[rows], value + standing, value)


def chosen(
    rows: IntArray, value: FloatArray, pays_per_click: BoolArray, ids: IntArray, ranked: int
) -> IntArray:
    """The `ranked` best of these rows: most by click, a share by view; either side fills what the other leaves. Equal
    values go to the lower id, so that the order of candidates changes nothing. In no particular order.

    `value` has one per row asked for, the other columns one per row of the set.
    """
    if kernels is not None:
        found = np.empty(ranked, np.int64)
        return found[: kernels.chosen(rows, value, pays_per_click, ids, len(rows), ranked, CPM_SHARE, found)]
    pays_per_click, ids = pays_per_click[rows], ids[rows]
    (clicks,), (views,) = pays_per_click.nonzero(), (~pays_per_click).nonzero()
    of_views = min(len(views), max(ranked // CPM_SHARE, ranked - len(clicks)))
    of_clicks = min(len(clicks), ranked - of_views)
    best = [
        side[_best(value[side], ids[side], places)]
        for side, places in ((clicks, of_clicks), (views, of_views))
        if places
    ]
    return rows[np.concatenate(best)]


def _best(value: FloatArray, ids: IntArray, places: int) -> IntArray:
    if len(value) <= places:
        return np.arange(len(value))
    order = value.argpartition(len(value) - places)
    least = value[order[len(value) - places]]
    best: IntArray = order[len(value) - places :]
    if len(level := (value == least).nonzero()[0]) == 1:
        return best
    level = level[np.argsort(ids[level], kind="stable")]
    sure = best[value[best] > least]
    return np.concatenate([sure, level[: places - len(sure)]])
