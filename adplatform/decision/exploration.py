"""Choosing under uncertainty, with the probability of the choice.

m = 64 draws of every candidate's click probability are taken from its posterior (normal on the logit
scale), each draw has a winner, one draw is taken uniformly; with probability ε the choice is uniform
instead. So p = (1 − ε) · share of draws won + ε / n, exactly, and off-policy estimates may divide by it.
Thompson sampling: Chapelle, Li 2011; the share of draws as propensity: Dudík et al. 2014, §5.

Exploring has a budget: the share of the expected worth of an auction (at the mean predictions) that it may cost. Where
draws and uniform choices would cost more, only a share λ of the auctions takes a draw and the others take the best at
the mean: p = (1 − ε)(λ · share of draws won + (1 − λ) · 1{best}) + ε / n. Held in each auction, it holds for each slot.

Of an ad that was hardly shown, the prediction rests on its text. Measured on headline tests: below some 500
impressions the text's pick beats exploring, beyond 3,000 the text no longer matters. `tapered` follows that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import chance
from .types import BoolArray, FloatArray, IntArray

DRAWS = 64
LEAST_TAPER = 0.2  # of its uncertainty that an ad explores with before anybody has seen it

# Streams of chance beside the candidates' own, whose numbers are their ids (positive).
_DRAW, _COIN, _UNIFORM, _TIES, _BUDGET = -1, -2, -3, -4, -5


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, by position. `pctr` and `order` belong to the draw that was taken (or to the mean, where
    the budget took none); `order` has the chosen one first and then the others from best to worst in it."""

    chosen: int
    is_uniform: bool
    propensity: FloatArray
    pctr: FloatArray
    order: IntArray


def logit_sd(impressions: FloatArray, pctr: FloatArray, *, prior_sd: float = 0.7) -> FloatArray:
    """Posterior deviation of logit(pCTR): prior precision plus the information n·p·(1−p) of n impressions."""
    return np.asarray(1 / np.sqrt(prior_sd**-2 + impressions * pctr * (1 - pctr)), np.float64)


def tapered(sd: FloatArray, impressions: FloatArray, near_greedy: int) -> FloatArray:
    """The deviation to explore with: a fifth of it for an ad that nobody saw, all of it from `near_greedy`
    impressions on (0: always all of it)."""
    if near_greedy <= 0:
        return sd
    known = np.minimum(impressions / near_greedy, 1.0)
    return np.asarray(sd * (LEAST_TAPER + (1 - LEAST_TAPER) * known), np.float64)


def choose(
    *,
    ids: IntArray,
    worth: FloatArray,
    pctr: FloatArray,
    sd: FloatArray,
    pays_per_click: BoolArray,
    seed: int,
    epsilon: float,
    budget: float = 1.0,
    draws: int = DRAWS,
) -> Choice:
    """Pick one of n candidates. A score is worth · pCTR · 1000 for who pays per click, worth otherwise.

    Candidates must stand in `tie_order`: equal scores go to whoever stands first.
    """
    sampled = sampled_pctr(ids, pctr, sd, seed, draws)
    scores = np.where(pays_per_click[:, None], worth[:, None] * (sampled * 1000), worth[:, None])
    mean = np.where(pays_per_click, worth * (pctr * 1000), worth)
    winners = scores.argmax(axis=0)
    size = len(ids)
    won = np.bincount(winners, minlength=size) / draws
    share = _affordable(won, mean, epsilon, budget)
    propensity = (1 - epsilon) * share * won + epsilon / size
    best = int(mean.argmax())
    propensity[best] += (1 - epsilon) * (1 - share)
    is_uniform = chance.share(chance.mix(seed, _COIN)) < epsilon
    takes_draw = share >= 1 or chance.share(chance.mix(seed, _BUDGET)) < share
    taken = chance.mix(seed, _DRAW) % draws
    if takes_draw or is_uniform:
        believed, score, leader = sampled[:, taken], scores[:, taken], int(winners[taken])
    else:
        believed, score, leader = pctr, mean, best
    chosen = chance.mix(seed, _UNIFORM) % size if is_uniform else leader
    order = np.argsort(-score, kind="stable")
    order = np.concatenate([[chosen], order[order != chosen]])
    return Choice(chosen, is_uniform, propensity, believed, order)


def _affordable(won: FloatArray, mean: FloatArray, epsilon: float, budget: float) -> float:
    """λ: the share of auctions that may take a draw, so that the expected loss stays within the budget."""
    most = float(mean.max())
    if budget >= 1 or most <= 0:
        return 1.0
    drawing = (1 - epsilon) * (1 - float(won @ mean) / most)
    left = budget - epsilon * (1 - float(mean.mean()) / most)
    return 1.0 if drawing <= max(left, 0.0) else max(left, 0.0) / drawing


def sampled_pctr(ids: IntArray, pctr: FloatArray, sd: FloatArray, seed: int, draws: int) -> FloatArray:
    """Posterior draws, candidates × draws, each candidate's own noise tied to its id."""
    odds = np.log(pctr / (1 - pctr))[:, None] + sd[:, None] * chance.noise(seed, ids, draws)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def tie_order(ids: IntArray, seed: int) -> IntArray:
    """An order of candidates that depends on their ids and the seed alone: who wins a tie is fixed for
    a decision, and fair over decisions."""
    return np.argsort(chance.mixed(chance.mix(seed, _TIES), ids), kind="stable")
