"""What another policy would have earned, from what one policy logged.

Each logged row has a reward r, the propensity p with which the logging policy chose its action, and the probability
π with which the judged policy would have chosen the same one; w = π / p. With an outcome model q̂ (optional):

    IPS          mean of w·r                                   unbiased where p is right (Horvitz, Thompson 1952)
    clipped IPS  mean of min(w, λ)·r                           biased towards less, of lower variance
    SNIPS        Σ w·r / Σ w                                   Swaminathan, Joachims 2015
    DR           mean of Σₐ π(a)·q̂(a) + w·(r − q̂)             unbiased where p or q̂ is right; Dudík et al. 2014
    SWITCH-DR    mean of Σₐ π(a)·q̂(a) + w·(r − q̂)·1{w ≤ τ}    Wang, Agarwal, Dudík 2017

The names and forms are those of Saito et al. 2020 (Open Bandit Pipeline). The model's own mean (DM) is not reported:
its error is no sampling error, so that its interval would promise what it cannot hold.

Intervals draw whole clusters (visitors, requests) with replacement. No draw can hold a reward that the heaviest rows
happened not to have, so that percentiles alone end too low where weights are heavy. The upper end is therefore moved
by half of what one more reward of the heaviest row would add: the middle of the two answers of Fay and Feuer's exact
interval of weighted counts (1997; mid-p: Fay and Kim 2017). Estimates that rest on a handful of rows are refused with the reason: an estimate without
an effective sample is an opinion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml.schema import Column, Floats, Ints

LEAST_ESS = 100.0
CLIP = 20.0
ROUNDS = 1_000
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)  # quantiles of w that SWITCH chooses its τ among
MOST_OFF = 5.0  # standard errors by which the mean weight may miss 1
MISSED = 0.5  # of one more reward of the heaviest row
BATCH = 100


class OffPolicyError(ValueError):
    """Logged data from which nothing can be estimated: columns of unequal length, or no rows."""


@dataclass(frozen=True)
class Logged:
    """Logged decisions as columns of equal length.

    `target` is π of the logged action. `predicted` is q̂ of the logged action, `expected` is Σₐ π(a)·q̂(a) of its row;
    q̂ must not have been fitted on the row itself (`cross_fitted_rates`). `cluster` says which rows belong together.
    """

    reward: Floats
    propensity: Floats
    target: Floats
    cluster: Column | None = None
    predicted: Floats | None = None
    expected: Floats | None = None

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class Estimate:
    """The value per decision with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """All estimators of one policy, or why there are none."""

    rows: int
    ess: float
    mean_weight: float
    most_weight: float
    estimates: Mapping[str, Estimate]
    refusal: str = ""

    def as_dict(self) -> dict[str, object]:
        """As JSON holds it."""
        return {
            "rows": self.rows,
            "ess": round(self.ess, 1),
            "mean_weight": round(self.mean_weight, 4),
            "most_weight": round(self.most_weight, 2),
            "refusal": self.refusal,
            "estimates": {
                name: [round(number, 8) for number in (one.value, one.low, one.high)]
                for name, one in self.estimates.items()
            },
        }


def effective_sample_size(weight: Floats) -> float:
    """(Σw)² / Σw² (Kish 1965): how many equally weighted rows would say as much."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def evaluate(
    logged: Logged,
    *,
    clip: float = CLIP,
    least_ess: float = LEAST_ESS,
    level: float = 0.95,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Report:
    """Every estimator that the columns allow; `refusal` says why there is none."""
    if fault := _fault(logged):
        return Report(len(logged), 0.0, 0.0, 0.0, {}, fault)
    weight = logged.target / logged.propensity
    ess = effective_sample_size(weight)
    refusal = _refusal(weight, ess, least_ess)
    parts = {} if refusal else _parts(logged, weight, clip)
    estimates = _estimates(parts, logged, level=level, rounds=rounds, seed=seed)
    return Report(len(logged), ess, float(weight.mean()), float(weight.max()), estimates, refusal)


def difference(
    first: Logged, second: Logged, *, level: float = 0.95, rounds: int = ROUNDS, seed: int = 0
) -> dict[str, Estimate]:
    """First policy's value minus the second's on the same rows, by SNIPS and (where both have q̂) doubly robust.

    Both are drawn together, so that what they share cancels. `evaluate` says whether either may be believed.
    """
    pairs = [_parts(one, one.target / one.propensity, CLIP) for one in (first, second)]
    shared = [name for name in ("snips", "dr") if all(name in parts for parts in pairs)]
    code = _codes(first.cluster, len(first))
    columns = [column for name in shared for parts in pairs for column in parts[name][:2]]
    sums: Floats = np.stack([np.bincount(code, weights=column) for column in columns], axis=1).astype(
        np.float64
    )
    drawn = np.vstack([sums.sum(axis=0), _drawn_sums(sums, rounds=rounds, seed=seed)])
    found = {}
    for number, name in enumerate(shared):
        a, b, c, d = (drawn[:, 4 * number + offset] for offset in range(4))
        gaps = a / np.maximum(b, 1e-12) - c / np.maximum(d, 1e-12)
        low, high = np.quantile(gaps[1:], [(1 - level) / 2, (1 + level) / 2])
        more, less = (
            _missed(one.reward, parts[name]) for one, parts in zip((first, second), pairs, strict=True)
        )
        found[name] = Estimate(float(gaps[0]), float(low) - less, float(high) + more)
    return found


def cross_fitted_rates(
    reward: Floats,
    action: Ints,
    *,
    actions: int,
    cluster: Column | None = None,
    folds: int = 5,
    strength: float = 100.0,
    seed: int = 0,
) -> tuple[Floats, Ints]:
    """(q̂ of shape (folds, actions), each row's fold): mean reward of an action over the other folds' rows.

    Smoothed towards the mean of all actions by `strength` rows of it. Clusters are not parted between folds.
    """
    code = _codes(cluster, len(reward))
    fold = np.random.default_rng(seed).integers(0, folds, int(code.max()) + 1)[code]
    place = fold * actions + action
    shape = (folds, actions)
    total = np.bincount(place, weights=reward, minlength=folds * actions).reshape(shape)
    count = np.bincount(place, minlength=folds * actions).reshape(shape).astype(np.float64)
    total, count = total.sum(axis=0) - total, count.sum(axis=0) - count
    overall = total.sum(axis=1, keepdims=True) / np.maximum(count.sum(axis=1, keepdims=True), 1.0)
    return (total + strength * overall) / (count + strength), fold


def _fault(logged: Logged) -> str:
    """Why these columns cannot be weighed at all."""
    columns = (logged.propensity, logged.target, logged.predicted, logged.expected, logged.cluster)
    if any(column is not None and len(column) != len(logged) for column in columns):
        raise OffPolicyError("the columns are not of one length")
    if len(logged) == 0:
        return "nothing was logged"
    propensity, target = logged.propensity, logged.target
    if not (np.isfinite(propensity) & (propensity > 0) & (propensity <= 1 + 1e-9)).all():
        return "a logged propensity is not a probability above 0"
    if not (np.isfinite(target) & (target >= 0) & (target <= 1 + 1e-9)).all():
        return "the judged policy's probabilities are not probabilities"
    if not np.isfinite(logged.reward).all():
        return "a reward is not a number"
    return ""


def _refusal(weight: Floats, ess: float, least_ess: float) -> str:
    if ess < least_ess:
        return (
            f"the effective sample is {ess:.0f} of {len(weight):,} rows ({least_ess:.0f} are needed): "
            "the logs hold too little of what the policy would do"
        )
    # Right propensities of a policy that could do all that the judged one does make weights of mean 1.
    error = float(weight.std()) / len(weight) ** 0.5
    if abs(float(weight.mean()) - 1) > max(MOST_OFF * error, 0.01):
        return (
            f"the weights average {weight.mean():.2f} instead of 1: the propensities are wrong, or the logs lack "
            "actions of the policy"
        )
    return ""


Part = tuple[Floats, Floats, Floats]  # numerator, denominator, and what the row's reward is multiplied by


def _parts(logged: Logged, weight: Floats, clip: float) -> dict[str, Part]:
    """Every estimator is a ratio of sums over rows."""
    one = np.ones(len(weight))
    reward, clipped = logged.reward, np.minimum(weight, clip)
    parts = {
        "ips": (weight * reward, one, weight),
        "clipped_ips": (clipped * reward, one, clipped),
        "snips": (weight * reward, weight, weight),
    }
    if logged.predicted is None or logged.expected is None:
        return parts
    surprise = weight * (reward - logged.predicted)
    kept = weight <= _threshold(weight, surprise, logged.expected)
    parts["dr"] = (logged.expected + surprise, one, weight)
    parts["switch_dr"] = (logged.expected + surprise * kept, one, weight * kept)
    return parts


def _missed(reward: Floats, part: Part) -> float:
    """What the upper end of an interval is moved by."""
    most = max(float(reward.max()), 0.0) * float(part[2].max())
    return MISSED * most / max(float(part[1].sum()), 1e-12)


def _threshold(weight: Floats, surprise: Floats, expected: Floats) -> float:
    """SWITCH's τ of least squared error: the variance of what is kept, plus the most that dropping the rest may bias
    (its mean and two standard errors, so that chance alone drops nothing; Su et al. 2020)."""
    best, least = float(weight.max()), np.inf
    for tau in np.quantile(weight, THRESHOLDS).tolist():
        kept = weight <= tau
        dropped = surprise * ~kept
        bias = abs(float(dropped.mean())) + 2 * float(dropped.std()) / len(weight) ** 0.5
        error = float((expected + surprise * kept).var()) / len(weight) + bias**2
        if error < least:
            best, least = tau, error
    return best


def _estimates(
    parts: Mapping[str, Part],
    logged: Logged,
    *,
    level: float,
    rounds: int,
    seed: int,
) -> dict[str, Estimate]:
    """Value and interval of each; all estimators see the same draws."""
    if not parts:
        return {}
    code = _codes(logged.cluster, len(logged))
    columns = [column for part in parts.values() for column in part[:2]]
    sums: Floats = np.stack([np.bincount(code, weights=column) for column in columns], axis=1).astype(
        np.float64
    )
    drawn = _drawn_sums(sums, rounds=rounds, seed=seed)
    found = {}
    for number, (name, part) in enumerate(parts.items()):
        top, bottom = sums[:, 2 * number].sum(), sums[:, 2 * number + 1].sum()
        ratios = drawn[:, 2 * number] / np.maximum(drawn[:, 2 * number + 1], 1e-12)
        low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
        missed = _missed(logged.reward, part)
        found[name] = Estimate(float(top / bottom), float(low), float(high) + missed)
    return found


def _codes(cluster: Column | None, size: int) -> Ints:
    """The number of each row's cluster; without clusters each row is its own."""
    code: Ints = np.arange(size) if cluster is None else np.unique(cluster, return_inverse=True)[1]
    return code


def _drawn_sums(sums: Floats, *, rounds: int, seed: int) -> Floats:
    """Sums over clusters drawn with replacement, one row per round."""
    rng = np.random.default_rng(seed)
    clusters = len(sums)
    out = np.empty((rounds, sums.shape[1]))
    for start in range(0, rounds, BATCH):
        size = min(BATCH, rounds - start)
        times = np.stack(
            [np.bincount(rng.integers(0, clusters, clusters), minlength=clusters) for _ in range(size)]
        )
        out[start : start + size] = times @ sums
    return out
