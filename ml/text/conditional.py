"""The conditional logit over any representation of texts: which of several rivals is clicked more.

Arms k of one group (a randomised test, a slate) with impressions Iₖ share the group's clicks as
Iₖ·exp(sₖ) / Σⱼ Iⱼ·exp(sⱼ), s = Xw: whatever lifts a whole group cancels. Convex, so one descent from anywhere ends
at the same weights; the penalty is the precision of a normal prior on each weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.schema import Column, Floats, Ints, Mask

MOST_STEPS = 200
HELD_OUT_SHARE = 0.15
OWN_SPREAD = 0.05  # variance of an arm's log rate that no text tells: its picture, its moment

Matrix = Any  # numpy array or scipy.sparse matrix, a row per text


@dataclass(frozen=True)
class Rivals:
    """Row r showed text[r] to impressions[r] people of group[r]."""

    text: Ints
    clicks: Floats
    impressions: Floats
    group: Column

    def take(self, rows: Ints | Mask) -> Rivals:
        """Only these rows."""
        return Rivals(self.text[rows], self.clicks[rows], self.impressions[rows], self.group[rows])

    def competing(self) -> Rivals:
        """Only groups in which something can be learnt: two arms or more."""
        _, code, size = np.unique(self.group, return_inverse=True, return_counts=True)
        return self.take(np.asarray(size[code] > 1))


def tempered(rivals: Rivals) -> Rivals:
    """The rivals with large groups shrunk: more clicks say no more about a text than what is its own allows.

    With m clicks an arm, chance adds 1/m to the variance OWN_SPREAD; the group then counts like one of
    m/(1 + m·OWN_SPREAD) clicks an arm, at most 1/OWN_SPREAD.
    """
    _, code, size = np.unique(rivals.group, return_inverse=True, return_counts=True)
    share = (1 / (1 + OWN_SPREAD * np.bincount(code, weights=rivals.clicks) / size))[code]
    return Rivals(rivals.text, rivals.clicks * share, rivals.impressions * share, rivals.group)


def fit(X: Matrix, rivals: Rivals, *, penalty: float, start: Floats | None = None) -> Floats:
    """The weights w of least penalised loss; X has a row per text."""
    from scipy.optimize import minimize

    rivals = rivals.competing()
    if rivals.clicks.sum() <= 0:
        return np.zeros(X.shape[1])
    rows = X[rivals.text]
    code = np.unique(rivals.group, return_inverse=True)[1]
    clicks_of_group = np.bincount(code, weights=rivals.clicks)
    total = rivals.clicks.sum()

    def loss(w: Floats) -> tuple[float, Floats]:
        share = _log_shares(np.asarray(rows @ w), rivals.impressions, code)
        gap = np.exp(share) * clicks_of_group[code] - rivals.clicks
        value = (-(rivals.clicks @ share) + penalty / 2 * w @ w) / total
        return float(value), np.asarray(rows.T @ gap + penalty * w) / total

    first = np.zeros(X.shape[1]) if start is None else start
    found: Floats = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS}).x
    return found


def fit_rates(X: Matrix, rows: Rivals, *, penalty: float) -> tuple[Floats, float]:
    """(weights, bias) of the penalised logistic regression of the click rates; groups do not matter."""
    from scipy.optimize import minimize

    found, seen = X[rows.text], rows.impressions
    total = seen.sum()
    base = rows.clicks.sum() / total

    def loss(w: Floats) -> tuple[float, Floats]:
        logit = np.asarray(found @ w[:-1]) + w[-1]
        p = np.exp(-np.logaddexp(0.0, -logit))
        value = seen @ np.logaddexp(0.0, logit) - rows.clicks @ logit + penalty / 2 * w[:-1] @ w[:-1]
        gap = seen * p - rows.clicks
        slope = np.append(np.asarray(found.T @ gap) + penalty * w[:-1], gap.sum())
        return float(value) / total, slope / total

    first = np.append(np.zeros(X.shape[1]), np.log(base / (1 - base)))
    w: Floats = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS}).x
    return w[:-1], float(w[-1])


def loss_of(score: Floats, rivals: Rivals) -> float:
    """Mean loss per click of the rivals' rows with these scores, in nats."""
    code = np.unique(rivals.group, return_inverse=True)[1]
    share = _log_shares(score, rivals.impressions, code)
    return float(-(rivals.clicks @ share) / rivals.clicks.sum())


def best_penalty(X: Matrix, rivals: Rivals, penalties: Sequence[float]) -> float:
    """The penalty with the least loss on the last rows' groups, fitted without them; rows are in order of time."""
    rivals = rivals.competing()
    groups, last = np.unique(rivals.group[::-1], return_index=True)
    newest = groups[np.argsort(last)][: max(1, round(len(groups) * HELD_OUT_SHARE))]
    held = np.isin(rivals.group, newest)
    if held.all() or rivals.clicks[held].sum() <= 0:
        return max(penalties)
    w, losses = None, []
    for penalty in sorted(penalties, reverse=True):
        w = fit(X, rivals.take(~held), penalty=penalty, start=w)
        losses.append(loss_of(np.asarray(X[rivals.text[held]] @ w), rivals.take(held)))
    return sorted(penalties, reverse=True)[int(np.argmin(losses))]


def _log_shares(score: Floats, impressions: Floats, code: Ints) -> Floats:
    """Log of each row's expected share of its group's clicks."""
    raw = score + np.log(impressions)
    highest = np.full(int(code.max()) + 1, -np.inf)
    np.maximum.at(highest, code, raw)
    raw = raw - highest[code]
    shares: Floats = raw - np.log(np.bincount(code, weights=np.exp(raw)))[code]
    return shares
