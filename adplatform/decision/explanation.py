"""The full candidate table of one placement: who was considered, how far each came, with what numbers."""

from __future__ import annotations

import math

import numpy as np

from .bidding import Bids
from .candidates import CandidateSet
from .types import FloatArray, IntArray, NoAd, Outcome, Scores, TableRow


def explained(
    outcome: Outcome,
    fixed: CandidateSet,
    *,
    rows: IntArray,
    scores: Scores,
    bids: Bids,
    sampled: FloatArray,
    propensity: FloatArray,
) -> list[TableRow]:
    """One line per candidate of the snapshot: picks first, then the scored by bid, then the refused.

    Columns are those of the scored candidates `rows`. `sampled` is the eCPM in the draw that was taken.
    """
    verdicts = _verdicts(outcome)
    positions = {pick.row: position for position, pick in enumerate(outcome.picks, start=1)}
    table = [
        TableRow(
            placement_id=outcome.placement.id,
            position=positions.get(row),
            candidate=fixed[row],
            reason=verdicts.get(row),
            text=_known(scores.text[at]),
            pctr=_known(scores.pctr[at]),
            pcvr=_known(scores.pcvr[at]),
            bid_micros=_micros(bids.ecpm[at]),
            sampled_micros=_micros(sampled[at]),
            propensity=float(propensity[at]),
        )
        for at, row in enumerate(rows.tolist())
    ]
    table.sort(key=lambda line: (line.position or math.inf, -(line.bid_micros or 0)))
    scored = set(rows.tolist())
    return table + [
        TableRow(placement_id=outcome.placement.id, position=None, candidate=fixed[row], reason=verdicts[row])
        for row in sorted(verdicts.keys() - scored)
    ]


def _verdicts(outcome: Outcome) -> dict[int, NoAd]:
    return {row: refused.reason for refused in outcome.refused for row in refused.row_numbers().tolist()}


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _micros(value: np.float64) -> int | None:
    return int(value) if np.isfinite(value) else None
