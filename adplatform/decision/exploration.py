"""Choosing under uncertainty, with the probability of the choice.

m = 64 draws of every candidate's click probability are taken from its posterior (normal on the logit
scale), each draw has a winner, one draw is taken uniformly; with probability ε the choice is uniform
instead. So p = (1 − ε) · share of draws won + ε / n, exactly, and off-policy estimates may divide by it.
Thompson sampling: Chapelle, Li 2011; the share of draws as propensity: Dudík et al. 2014, §5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import chance
from .types import BoolArray, FloatArray, IntArray

DRAWS = 64

# Streams of chance beside the candidates' own, whose numbers are their ids (positive).
_DRAW, _COIN, _UNIFORM, _TIES = -1, -2, -3, -4


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, by position. `pctr` and `order` belong to the draw that was taken; `order` has
    the chosen one first and then the others from best to worst in that draw."""

    chosen: int
    is_uniform: bool
    propensity: FloatArray
    pctr: FloatArray
    order: IntArray


def logit_sd(impressions: FloatArray, pctr: FloatArray, *, prior_sd: float = 0.7) -> FloatArray:
    """Posterior deviation of logit(pCTR): prior precision plus the information n·p·(1−p) of n impressions."""
    return np.asarray(1 / np.sqrt(prior_sd**-2 + impressions * pctr * (1 - pctr)), np.float64)


def choose(
    *,
    ids: IntArray,
    worth: FloatArray,
    pctr: FloatArray,
    sd: FloatArray,
    pays_per_click: BoolArray,
    seed: int,
    epsilon: float,
    draws: int = DRAWS,
) -> Choice:
    """Pick one of n candidates. A score is worth · pCTR · 1000 for who pays per click, worth otherwise.

    Candidates must stand in `tie_order`: equal scores go to whoever stands first.
    """
    sampled = sampled_pctr(ids, pctr, sd, seed, draws)
    scores = np.where(pays_per_click[:, None], worth[:, None] * (sampled * 1000), worth[:, None])
    winners = scores.argmax(axis=0)
    size = len(ids)
    propensity = (1 - epsilon) * np.bincount(winners, minlength=size) / draws + epsilon / size
    taken = chance.mix(seed, _DRAW) % draws
    is_uniform = chance.share(chance.mix(seed, _COIN)) < epsilon
    chosen = chance.mix(seed, _UNIFORM) % size if is_uniform else int(winners[taken])
    order = np.argsort(-scores[:, taken], kind="stable")
    order = np.concatenate([[chosen], order[order != chosen]])
    return Choice(chosen, is_uniform, propensity, sampled[:, taken], order)


def sampled_pctr(ids: IntArray, pctr: FloatArray, sd: FloatArray, seed: int, draws: int) -> FloatArray:
    """Posterior draws, candidates × draws, each candidate's own noise tied to its id."""
    odds = np.log(pctr / (1 - pctr))[:, None] + sd[:, None] * chance.noise(seed, ids, draws)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def tie_order(ids: IntArray, seed: int) -> IntArray:
    """An order of candidates that depends on their ids and the seed alone: who wins a tie is fixed for
    a decision, and fair over decisions."""
    return np.argsort(chance.mixed(chance.mix(seed, _TIES), ids), kind="stable")
