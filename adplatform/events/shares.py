"""How attribution models share a conversion among the clicks that led to it. Pure: clicks in order, shares that add up.

    last_click     all to the last click (what statistics, invoices of value and bidding use)
    first_click    all to the first
    linear         the same to each
    time_decay     half as much for every seven days that a click lies before the conversion
    position       40 % to the first, 40 % to the last, the rest among those between
    data_driven    by the removal effect of each click's campaign in a first-order Markov chain over the paths of all
                   visitors (Anderl et al. 2016): how much less often paths would end in a conversion without it

Views share nothing: where no click led to a conversion, the last viewable impression in the view window is told apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise

WHOLE = 1_000_000
HALF_LIFE = timedelta(days=7)
MODELS = ("last_click", "first_click", "linear", "time_decay", "position", "data_driven")
_ROUNDS = 1_000
_EXACT = 1e-12

Ages = Sequence[timedelta]  # of the clicks, oldest first: how long before the conversion
START, CONVERTED, LOST = ("start",), ("converted",), ("lost",)
Path = tuple[
    Sequence[Hashable], bool
]  # campaigns in the order of the clicks, and whether it ended in a conversion


def shares(model: str, ages: Ages, effects: Sequence[float] = ()) -> list[int]:
    """Millionths for each click, adding up to WHOLE. `effects`: of the clicks' campaigns, for `data_driven`."""
    if model == "data_driven":
        weights = list(effects) if sum(effects) > 0 else [1.0] * len(ages)
    else:
        weights = _WEIGHTS[model](ages)
    return split(WHOLE, weights)


def split(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to the weights that add up to the total: each is the step between two rounded sums."""
    whole, before, parts, sum_so_far = sum(weights), 0, [], 0.0
    for place, weight in enumerate(weights, start=1):
        sum_so_far += weight
        until = total if place == len(weights) else int(total * (sum_so_far / whole))
        parts.append(until - before)
        before = until
    return parts


def removal_effects(paths: Sequence[Path]) -> dict[Hashable, float]:
    """Of each campaign: by which part conversions would become rarer if every path broke off at it."""
    chain = _chain(paths)
    reached = _probability(chain, removed=None)
    campaigns = sorted({state for path, _ in paths for state in path}, key=str)
    if reached <= 0:
        return dict.fromkeys(campaigns, 0.0)
    return {one: max(0.0, 1 - _probability(chain, removed=one) / reached) for one in campaigns}


def _chain(paths: Sequence[Path]) -> dict[Hashable, dict[Hashable, float]]:
    counts: dict[Hashable, dict[Hashable, float]] = defaultdict(lambda: defaultdict(float))
    for path, converted in paths:
        states = [START, *path, CONVERTED if converted else LOST]
        for one, following in pairwise(states):
            counts[one][following] += 1
    return {
        state: {following: n / sum(found.values()) for following, n in found.items()}
        for state, found in counts.items()
    }


def _probability(chain: Mapping[Hashable, Mapping[Hashable, float]], *, removed: Hashable) -> float:
    """Of ending in a conversion from the start, where a removed state leads nowhere; by repeated substitution."""
    value = dict.fromkeys(chain, 0.0)
    for _ in range(_ROUNDS):
        change = 0.0
        for state, following in chain.items():
            if state == removed:
                continue
            now = sum(p * (1.0 if to == CONVERTED else value.get(to, 0.0)) for to, p in following.items())
            change = max(change, abs(now - value[state]))
            value[state] = now
        if change < _EXACT:
            break
    return value.get(START, 0.0)


def _last(ages: Ages) -> list[float]:
    return [0.0] * (len(ages) - 1) + [1.0]


def _first(ages: Ages) -> list[float]:
    return [1.0] + [0.0] * (len(ages) - 1)


def _linear(ages: Ages) -> list[float]:
    return [1.0] * len(ages)


def _time_decay(ages: Ages) -> list[float]:
    youngest = ages[-1]
    return [0.5 ** ((age - youngest) / HALF_LIFE) for age in ages]


def _position(ages: Ages) -> list[float]:
    if len(ages) <= 2:
        return _linear(ages)
    return [0.4, *([0.2 / (len(ages) - 2)] * (len(ages) - 2)), 0.4]


_WEIGHTS: dict[str, Callable[[Ages], list[float]]] = {
    "last_click": _last,
    "first_click": _first,
    "linear": _linear,
    "time_decay": _time_decay,
    "position": _position,
}
