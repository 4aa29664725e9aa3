"""What winners pay. An auction takes scores (bid times rate, highest first) and gives a price for each
place, in the same unit; every price lies between the winner's floor and its score.

Scores are eCPM, so a bid per click and a bid per 1,000 impressions compete in one list.
Sources: Edelman, Ostrovsky, Schwarz 2007 (generalised second price); Varian, Harris 2014 (VCG).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Auction = Callable[[Sequence[float], Sequence[float], Sequence[float]], list[float]]


def first_price(scores: Sequence[float], _floors: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Winners pay what they bid."""
    return list(scores[: len(weights)])


def second_price(scores: Sequence[float], floors: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Winners pay what the next one bid, at least their floor: the lowest bid that keeps the place."""
    return [
        min(scores[place], max(floors[place], _score(scores, place + 1)))
        for place in range(min(len(weights), len(scores)))
    ]


def vcg(scores: Sequence[float], floors: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Winners pay the worth that their presence takes from the others; bidding one's worth is then best.

    With w the share of attention at each place: p_i·w_i = Σ_{j>=i} (w_j − w_{j+1}) · s_{j+1}. With one
    place it is the second price.
    """
    prices = []
    for place in range(min(len(weights), len(scores))):
        harm = 0.0
        for later in range(place, len(weights)):
            step = weights[later] - (weights[later + 1] if later + 1 < len(weights) else 0.0)
            harm += step * max(floors[place], _score(scores, later + 1))
        prices.append(min(scores[place], harm / weights[place]))
    return prices


AUCTIONS: dict[str, Auction] = {"first_price": first_price, "second_price": second_price, "vcg": vcg}


def _score(scores: Sequence[float], place: int) -> float:
    return scores[place] if place < len(scores) else 0.0


def impression_charge_micros(price_micros: float, *, most_micros: int) -> int:
    """What one impression owes at an eCPM price: rounded up, so that no floor is undercut, but never
    above the bid."""
    return min(_ceil(price_micros / 1000), most_micros)


def click_charge_micros(price_micros: float, *, pctr: float, most_micros: int) -> int:
    """What one click owes so that 1,000 impressions bring the price: rounded up, never above the bid."""
    return min(_ceil(price_micros / (1000 * pctr)), most_micros)


def _ceil(amount: float) -> int:
    """Rounds up, except for what is only the noise of float division."""
    nearest = round(amount)
    return nearest if abs(amount - nearest) < 1e-9 * max(1.0, abs(amount)) else math.ceil(amount)
