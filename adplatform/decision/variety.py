"""How much less an ad counts when its visitor has just seen its advertiser, or others of its category.

    factor = max(0.1, (1 + a + c / 2) ** −w)

a: the visitor's impressions of the advertiser in the present window, c: of its category, w: the site's weight, 0 to 1.
Both come from the counters that frequency caps read. Like an operator's factor it orders ads: it changes neither who
is eligible nor the floor, and raises no price.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from zlib import crc32

import numpy as np

from .candidates import CandidateSet
from .rules import LEAST_FACTOR, MOST_FACTOR, folded
from .types import Candidate, FloatArray, IntArray, Seen

WINDOW_SECONDS = 7 * 86_400
CATEGORY = "category"  # a scope beside those of frequency caps; its ids are hashes of names

Counter = tuple[str, int, int]


def counters_of(candidate: Candidate) -> tuple[Counter, ...]:
    """What an impression of this ad raises: (scope, id, window_seconds)."""
    return _counters(candidate.advertiser_id, candidate.category)


@lru_cache(maxsize=4_096)
def _counters(advertiser_id: int, category: str) -> tuple[Counter, ...]:
    own = ("advertiser", advertiser_id, WINDOW_SECONDS)
    if not category:
        return (own,)
    return (own, (CATEGORY, _hash(category), WINDOW_SECONDS))


def factors(fixed: CandidateSet, rows: IntArray, weight: float, seen: Seen) -> FloatArray | None:
    """By how much the worth of each row counts; None where nothing was seen, or nobody asks for variety."""
    counts = seen.counts
    if weight <= 0 or not counts:
        return None
    category = fixed.columns.coded["category"]
    own = zip(fixed.advertiser_id[rows].tolist(), category.codes[rows].tolist(), strict=True)
    met = np.array([_met(_counters(id, category.values[code]), counts) for id, code in own], np.float64)
    return shrunk(met, weight) if met.any() else None


def shrunk(met: FloatArray, weight: float) -> FloatArray:
    """The factor of ads that were met a + c / 2 times."""
    return np.asarray(np.maximum((1 + met) ** -weight, LEAST_FACTOR), np.float64)


def together(rules: FloatArray | None, variety: FloatArray | None) -> FloatArray | None:
    """Operator's rules and variety as one factor, within the bounds of one."""
    if variety is None or rules is None:
        return rules if variety is None else variety
    return np.clip(rules * variety, LEAST_FACTOR, MOST_FACTOR)


def _met(counters: tuple[Counter, ...], counts: Mapping[Counter, int]) -> float:
    own, *rest = counters
    return counts.get(own, 0) + sum(counts.get(one, 0) for one in rest) / 2


def _hash(category: str) -> int:
    return crc32(folded(category).encode())
