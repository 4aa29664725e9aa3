"""Who else could have been chosen, of a sample of decisions: what off-policy estimates need beside the propensity.

The sample follows from the decision's seed, so that it depends neither on the ad nor on what came of it. No Django here.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from adplatform import settings
from adplatform.decision import chance
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.types import ChoiceSet, Slot
from adplatform.learning.scorer import RequestScorer

_SAMPLE = -6  # a stream of chance of its own


def is_kept(seed: int) -> bool:
    """Whether the choice sets of the decision with this seed are kept."""
    return chance.share(chance.mix(seed, _SAMPLE)) < settings.CHOICE_SETS_LOGGED


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
