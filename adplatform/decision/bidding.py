"""From what a line item wants to what it bids for one impression.

Worth per 1,000 impressions (eCPM), with pace k (notes: Balseiro et al., value maximisers bid k·w):

    manual CPM             k · bid                                     k <= 1
    manual CPC             k · bid · pCTR · 1000                       k <= 1
    maximise clicks        k · bid · pCTR · 1000                       k <= 1
    maximise conversions   k · bid · pCVR · pCTR · 1000                k <= 3
    target CPA             k · target · pCVR · pCTR · 1000             k <= 3
    target ROAS            k · value / target · pCVR · pCTR · 1000     k <= 3

All but manual CPM pay for clicks, at most the worth of a click (the same without pCTR · 1000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .native import kernels
from .types import Bid, BidStrategy, BoolArray, Candidate, FloatArray, IntArray, Scores

if TYPE_CHECKING:
    from .candidates import CandidateSet

MOST_PACE = 3.0  # beyond 3 times the advertiser's own value, bids followed noise (measured in replay)

CONVERSION_STRATEGIES = frozenset(
    (BidStrategy.MAXIMISE_CONVERSIONS, BidStrategy.TARGET_CPA, BidStrategy.TARGET_ROAS)
)


def pace_limit(strategy: BidStrategy) -> float:
    """The highest pace: a bid that says the most is a promise and is never raised."""
    return 1.0 if strategy.is_hard_maximum else MOST_PACE


def unit_worth_micros(candidate: Candidate) -> float:
    """Worth of what the strategy wants before pacing: 1,000 impressions, a click, or a conversion."""
    if candidate.bid_strategy is BidStrategy.TARGET_ROAS:
        return candidate.value_micros * 10_000 / max(candidate.target_roas_bp, 1)
    return float(candidate.bid_micros)


def bid_for(candidate: Candidate, *, pctr: float, pcvr: float) -> Bid:
    """One candidate's bid, rounded down: never above what the advertiser said."""
    strategy = candidate.bid_strategy
    pace = min(max(candidate.pace, 0.0), pace_limit(strategy))
    worth = pace * unit_worth_micros(candidate)
    if strategy in CONVERSION_STRATEGIES:
        worth *= pcvr
    if strategy.price_kind == "cpm":
        return Bid(ecpm_micros=math.floor(worth), most_micros=math.floor(worth / 1000), price_kind="cpm")
    ecpm_micros = math.floor(worth * (pctr * 1000))
    return Bid(ecpm_micros=ecpm_micros, most_micros=math.floor(worth), price_kind="cpc")


@dataclass(frozen=True, slots=True)
class Bids:
    """Bids of many candidates: `ecpm` is `worth · rate`, unrounded, with rate 1 for 'cpm' (worth per
    1,000 impressions) and pCTR · 1000 for 'cpc' (worth per click). `most` is the highest charge of one
    billable event; `unpaced` is the eCPM with pace 1; `unfit`: how many have no usable prediction, bid below the least that
    was asked for, or could not be charged."""

    worth: FloatArray
    rate: FloatArray
    ecpm: FloatArray
    unpaced: FloatArray
    most: IntArray
    unfit: int


def unpaced_worth(fixed: CandidateSet, rows: IntArray) -> FloatArray:
    """Worth of a click, or of 1,000 impressions, with pace 1 and the conversion rates of the set."""
    return np.where(fixed.wants_conversions[rows], fixed.pcvr[rows], 1.0) * fixed.unit_micros[rows]


def needed_micros(fixed: CandidateSet, pace: FloatArray) -> IntArray:
    """What must be left of a budget before its ad is asked for a bid: its highest charge, at least 1. Of ads that want
    conversions, whose charge hangs on a prediction, no more than that."""
    everybody = np.arange(len(fixed))
    worth = unpaced_worth(fixed, everybody) * np.clip(pace, 0.0, fixed.pace_limit)
    most = np.floor(np.where(fixed.pays_per_click, worth, worth / 1000)).astype(np.int64)
    return np.maximum(np.where(fixed.wants_conversions, 1, most), 1)


def usable(scores: Scores, bids: Bids) -> BoolArray:
    """Of each candidate whether its prediction is one."""
    probable = (scores.pctr > 0) & (scores.pctr < 1)
    return np.asarray(probable & np.isfinite(scores.sd) & np.isfinite(bids.ecpm), np.bool_)


def bids_for(
    fixed: CandidateSet, rows: IntArray, scores: Scores, pace: FloatArray, least: float = 1.0
) -> Bids:
    """`bid_for` over rows of a candidate set; `pace` has one value per row of the set, `least` is the lowest eCPM that
    stands."""
    if kernels is not None:
        return _natively(fixed, rows, scores, pace, least)
    multiplier = np.minimum(np.maximum(pace[rows], 0.0), fixed.pace_limit[rows])
    clicks = fixed.pays_per_click[rows]
    pcvr = np.where(fixed.wants_conversions[rows], scores.pcvr, 1.0)
    unit = fixed.unit_micros[rows]
    worth = multiplier * unit * pcvr
    rate = np.where(clicks, scores.pctr * 1000, 1.0)
    most = np.floor(np.where(clicks, worth, worth / 1000)).astype(np.int64)
    bids = Bids(worth, rate, worth * rate, unit * pcvr * rate, most, 0)
    fit = usable(scores, bids) & (bids.ecpm >= least) & (most >= 1)
    return replace(bids, unfit=len(rows) - int(np.count_nonzero(fit)))


def _natively(fixed: CandidateSet, rows: IntArray, scores: Scores, pace: FloatArray, least: float) -> Bids:
    size = len(rows)
    found, most = np.empty((4, size)), np.empty(size, np.int64)
    unfit = kernels.bids(
        rows,
        pace,
        fixed.pace_limit,
        fixed.unit_micros,
        fixed.pays_per_click,
        fixed.wants_conversions,
        scores.pctr,
        scores.pcvr,
        scores.sd,
        size,
        least,
        found,
        most,
    )
    worth, rate, ecpm, unpaced = found
    return Bids(worth, rate, ecpm, unpaced, most, unfit)


def shade(value_micros: float, market_micros: FloatArray) -> float:
    """The first-price bid that maximises (value − bid) · F(bid), F from observed prices that would have won.

    Exact on the empirical F: its best bid is one of the observed prices. `market_micros` is ascending.
    Where none of them leaves a profit it bids the value. Source: Pan et al. 2020, Zhou et al. KDD 2021.
    """
    reachable = market_micros[: np.searchsorted(market_micros, value_micros, side="left")]
    if not len(reachable):
        return value_micros
    profit = (value_micros - reachable) * np.arange(1, len(reachable) + 1)
    return float(reachable[np.argmax(profit)])
