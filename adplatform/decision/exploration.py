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
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from . import chance
from .native import kernels
from .types import BoolArray, FloatArray, IntArray

_Real = TypeVar("_Real", np.float32, np.float64)

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

    Candidates must stand in the order of `tie_ordered`: equal scores go to whoever stands first.
    """
    size, odds = len(ids), np.log(pctr / (1 - pctr))
    mean = np.where(pays_per_click, worth * (pctr * 1000), worth)
    drawn = _drawn(
        ids=ids, worth=worth, odds=odds, sd=sd, pays_per_click=pays_per_click, seed=seed, draws=draws
    )
    won = drawn.won / draws
    best = int(mean.argmax())
    share = _affordable(won, mean, float(mean[best]), epsilon, budget)
    propensity = (1 - epsilon) * share * won + epsilon / size
    propensity[best] += (1 - epsilon) * (1 - share)
    is_uniform = chance.share(chance.mix(seed, _COIN)) < epsilon
    takes_draw = share >= 1 or chance.share(chance.mix(seed, _BUDGET)) < share
    taken = chance.mix(seed, _DRAW) % draws
    if takes_draw or is_uniform:
        # In double precision: prices follow from this draw.
        believed = _logistic(odds + sd * chance.normal(drawn.starts, taken, draws))
        score = np.where(pays_per_click, worth * (believed * 1000), worth)
        leader = int(drawn.winner[taken])
    else:
        believed, score, leader = pctr, mean, best
    chosen = chance.mix(seed, _UNIFORM) % size if is_uniform else leader
    order = (-score).argsort(kind="stable")
    if order[0] != chosen:
        order = np.concatenate([[chosen], order[order != chosen]])
    return Choice(chosen, is_uniform, propensity, believed, order)


@dataclass(frozen=True, slots=True)
class _Draws:
    """`won`: how many each candidate wins; `winner`: of each; `starts`: where each candidate's noise begins."""

    won: FloatArray
    winner: IntArray | npt.NDArray[np.int32]
    starts: IntArray


def _drawn(
    *,
    ids: IntArray,
    worth: FloatArray,
    odds: FloatArray,
    sd: FloatArray,
    pays_per_click: BoolArray,
    seed: int,
    draws: int,
) -> _Draws:
    size = len(ids)
    if kernels is not None and draws <= DRAWS:
        won, wins, starts = np.empty(size), np.empty(draws, np.int32), np.empty(size, np.int64)
        columns = (ids, worth, odds, sd, pays_per_click)
        kernels.wins(*columns, size, seed, draws, chance.bank(draws), starts, won, wins)
        return _Draws(won, wins, starts)
    starts = chance.starts(seed, ids)
    scores = sampled_pctr(odds, sd, chance.noise(starts, draws)) * 1000
    scores *= worth.astype(np.float32)[:, None]
    views = (~pays_per_click).nonzero()[0]
    scores[views] = worth[views, None]
    winner = scores.argmax(axis=0)
    return _Draws(np.bincount(winner, minlength=size).astype(np.float64), winner, starts)


def _affordable(won: FloatArray, mean: FloatArray, most: float, epsilon: float, budget: float) -> float:
    """λ: the share of auctions that may take a draw, so that the expected loss stays within the budget; `most` is the
    largest mean."""
    if budget >= 1 or most <= 0:
        return 1.0
    drawing = (1 - epsilon) * (1 - float(won @ mean) / most)
    left = budget - epsilon * (1 - float(mean.sum()) / len(mean) / most)
    return 1.0 if drawing <= max(left, 0.0) else max(left, 0.0) / drawing


def sampled_pctr(odds: FloatArray, sd: FloatArray, noise: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Posterior draws, candidates × draws; seven digits, since they are only compared."""
    return _logistic(noise * sd.astype(np.float32)[:, None] + odds.astype(np.float32)[:, None])


def _logistic(odds: npt.NDArray[_Real]) -> npt.NDArray[_Real]:
    """Probabilities of log odds, in their place."""
    np.negative(odds, out=odds)
    np.exp(odds, out=odds)
    odds += 1
    return np.divide(1, odds, out=odds)


def tie_ordered(rows: IntArray, ids: IntArray, seed: int) -> IntArray:
    """Rows in an order that depends on their ids (`ids` has one per row of the set) and the seed alone: who wins a tie
    is fixed for a decision, and fair over decisions."""
    word = chance.mix(seed, _TIES)
    if kernels is None:
        return rows[chance.mixed(word, ids[rows]).argsort(kind="stable")]
    found = np.empty(len(rows), np.int64)
    kernels.tie_ordered(rows, ids, len(rows), word, found)
    return found
