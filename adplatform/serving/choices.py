"""Of a sample of decisions: who else could have been chosen, for off-policy estimates, and the whole table, for people.

The sample follows from the decision's seed, so that it depends neither on the ad nor on what came of it. A choice that
was kept can be made again, bit for bit. No Django here.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adplatform import settings
from adplatform.decision import chance
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.exploration import choose
from adplatform.decision.pricing import price_micros
from adplatform.decision.tally import WON
from adplatform.decision.types import ChoiceSet, FloatArray, IntArray, Outcome, Slot
from adplatform.learning.scorer import RequestScorer

TABLE_SHARE = 0.2  # of those decisions: the whole table is larger than the choice set
MOST_REFUSED = 100  # ads that are named of those that one reason refused before ranking; all are counted
_SAMPLE = -6  # a stream of chance of its own


def is_kept(seed: int) -> bool:
    """Whether the choice sets of the decision with this seed are kept."""
    return chance.share(chance.mix(seed, _SAMPLE)) < settings.CHOICE_SETS_LOGGED


def is_table_kept(seed: int) -> bool:
    """Whether the decision with this seed also keeps all its candidates."""
    return chance.share(chance.mix(seed, _SAMPLE)) < settings.CHOICE_SETS_LOGGED * TABLE_SHARE


def as_json(among: ChoiceSet, fixed: CandidateSet, scorer: RequestScorer, slot: Slot) -> dict[str, Any]:
    """Columns by candidate, in the order of the choice; `features` are the blender's rows, float32, base64. `factor` is
    there where a worth was weighed, `variety` where what the visitor had seen has a part in that."""
    rows = among.rows
    weighed = {} if among.factor is None else {"factor": among.factor.tolist()}
    if among.variety is not None:
        weighed["variety"] = among.variety.tolist()
    return weighed | {
        "creative": fixed.creative_id[rows].tolist(),
        "line_item": fixed.line_item_id[rows].tolist(),
        "by_click": fixed.pays_per_click[rows].tolist(),
        "worth": among.worth.tolist(),
        "pctr": among.pctr.tolist(),
        "sd": among.sd.tolist(),
        "propensity": among.propensity.tolist(),
        "seed": among.seed,
        "epsilon": settings.DECISION_EPSILON,
        "budget": settings.EXPLORATION_BUDGET,
        "features": b64encode(scorer.features_among(slot, rows)).decode(),
    }


def table_of(outcome: Outcome, fixed: CandidateSet) -> dict[str, Any]:
    """The candidates of one placement: `ranked` has every scored ad with its numbers and outcome, `refused` counts the
    others by reason and names some."""
    ranking = outcome.ranking
    late = {
        row: one.reason.value for one in outcome.refused if one.rows is not None for row in one.rows.tolist()
    }
    late |= {pick.row: WON for pick in outcome.picks}
    refused = {
        one.reason.value: {
            "count": one.count,
            "creative": fixed.creative_id[_first_rows(one.bits, len(fixed))].tolist(),
        }
        for one in outcome.refused
        if one.rows is None
    }
    if ranking is None:
        return {"ranked": {}, "refused": refused}
    rows, scores = ranking.rows, ranking.scores
    return {
        "ranked": {
            "creative": fixed.creative_id[rows].tolist(),
            "line_item": fixed.line_item_id[rows].tolist(),
            "outcome": [late.get(row, "") for row in rows.tolist()],
            "text": _known(scores.text),
            "pctr": _known(scores.pctr),
            "pcvr": _known(scores.pcvr),
            "ecpm_micros": _known(ranking.ecpm),
        },
        "refused": refused,
    }


def _first_rows(bits: int, size: int) -> IntArray:
    """The first rows of a bitmap: only the bytes that hold them are unpacked."""
    raw = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
    held = np.flatnonzero(raw != 0)[:MOST_REFUSED]  # of flags, since nonzero is slow on other types
    found = np.unpackbits(raw[held], bitorder="little").nonzero()[0]
    rows: IntArray = held[found >> 3] * 8 + (found & 7)
    return rows[:MOST_REFUSED]


def _known(values: FloatArray) -> list[float | None]:
    return [
        value if known else None for value, known in zip(values.tolist(), np.isfinite(values), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who was chosen, how probably, at which price (eCPM)."""

    creative_id: int
    propensity: float
    price_micros: int


def chosen_again(kept: Mapping[str, Any], *, floor_micros: int, bid_micros: int) -> Chosen:
    """Make a kept choice once more, from its seed: the same ad at the same price, on the kind of machine that decided.
    `bid_micros`: of the ad that was shown, which its price never exceeds."""
    worth, pctr = np.array(kept["worth"]), np.array(kept["pctr"])
    by_click = np.array(kept["by_click"], np.bool_)
    factor = np.array(kept["factor"]) if "factor" in kept else None
    choice = choose(
        ids=np.array(kept["creative"], np.int64),
        worth=worth if factor is None else worth * factor,
        pctr=pctr,
        sd=np.array(kept["sd"]),
        pays_per_click=by_click,
        seed=kept["seed"],
        epsilon=kept["epsilon"],
        budget=kept["budget"],
    )
    price = price_micros(
        choice, worth=worth, pctr=pctr, pays_per_click=by_click, floor_micros=floor_micros, factor=factor
    )
    return Chosen(
        kept["creative"][choice.chosen],
        float(choice.propensity[choice.chosen]),
        min(max(round(price), floor_micros), bid_micros),
    )
