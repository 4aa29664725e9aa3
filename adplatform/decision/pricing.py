"""What the chosen ad is asked for: the lowest bid that would have been chosen in the draw taken.

The floor holds at the mean prediction, so in the draw it moves with the winner's click probability; a uniform choice
asks for no more than the floor. Where operator's rules weigh the worth of ads, the price is the lower of two: what the
rivals' weighed scores ask for in the winner's own unit, and what they would ask for unweighed. So no rule raises what
an ad pays that would have been chosen without it.
"""

from __future__ import annotations

import numpy as np

from .auction import AUCTIONS
from .exploration import Choice
from .types import BoolArray, FloatArray, IntArray


def price_micros(
    choice: Choice,
    *,
    worth: FloatArray,
    pctr: FloatArray,
    pays_per_click: BoolArray,
    floor_micros: int,
    places: int = 1,
    auction: str = "second_price",
    factor: FloatArray | None = None,
) -> float:
    """eCPM at the mean prediction, unrounded. Columns are those that were chosen from; `worth` is without factors."""
    at = choice.chosen
    lift = float(choice.pctr[at]) / float(pctr[at]) if pays_per_click[at] else 1.0
    most = 1 if choice.is_uniform else places + 1
    floors, attention = [floor_micros * lift] * most, [1.0] * places
    asked = AUCTIONS[auction]

    def scores(rows: IntArray) -> FloatArray:
        rates = np.where(pays_per_click[rows], choice.pctr[rows] * 1000, 1.0)
        return np.asarray(worth[rows] * rates, np.float64)

    if factor is None:
        return asked(scores(choice.order[:most]).tolist(), floors, attention)[0] / lift
    drawn = scores(choice.order)
    own, rivals = float(drawn[0]), drawn[1:]
    weighed = np.minimum(rivals * factor[choice.order[1:]] / factor[at], own)
    unweighed = -np.sort(-np.minimum(rivals, own))
    both = (asked([own, *part.tolist()][:most], floors, attention)[0] for part in (weighed, unweighed))
    return min(both) / lift
