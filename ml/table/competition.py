"""Where nothing but competing texts is known: a conditional logit over their scores takes the trees' place.

Within a group it says who is clicked more. How much of the difference between groups' mean scores is real is another
question, that the conditional logit never answers, since a group's level cancels in it: one slope is fitted for that.
"""

from __future__ import annotations

import numpy as np

from ml.schema import Floats, Ints
from ml.table.reading import Rows
from ml.text.conditional import Rivals, fit
from ml.text.train import sigmoid

WEIGHT_PENALTY = 1.0
SLOPE_PENALTY = 10.0


def only_competing_texts(rows: Rows) -> bool:
    """Whether the table has groups and texts, and nothing else to learn from."""
    others = rows.user is not None or rows.item is not None or bool(rows.sets) or rows.numeric.shape[1] > 0
    return rows.group is not None and rows.text is not None and not others


def competition(rows: Rows, X: Floats, names: list[str]) -> tuple[Floats, dict[str, float]]:
    """(probabilities of all rows at the mean level of the training rows, the weight of each score)."""
    if rows.group is None:
        raise ValueError("without groups nothing competes")
    scored = np.asarray(~np.isnan(X).any(axis=1))
    known = np.flatnonzero(~rows.is_test & (rows.weight > 0))
    train = known[scored[known]]
    if len(train) == 0:  # too short a past to weigh the scores
        return _at_level(rows, np.nan_to_num(X[:, 0]), known), {}
    z = np.where(scored[:, None], X, 0.0)
    past = Rivals(train, (rows.rate * rows.weight)[train], rows.weight[train], rows.group[train])
    w = fit(z, past, penalty=WEIGHT_PENALTY)
    share = dict(zip(names, np.abs(w * z[train].std(axis=0)).tolist(), strict=True))
    return _at_level(rows, z @ w, train), share


def _at_level(rows: Rows, score: Floats, train: Ints) -> Floats:
    """Scores as probabilities: logit = level + slope·(mean of the group) + what the row differs from it."""
    from scipy.optimize import minimize

    group, weight, rate = np.asarray(rows.group), rows.weight[train], rows.rate[train]
    size = int(group.max()) + 1
    mean = (
        np.bincount(group, weights=score, minlength=size) / np.maximum(np.bincount(group, minlength=size), 1)
    )[group]
    centre = float(np.average(mean[train], weights=weight))
    own, between = score - mean, mean - centre

    def loss(parameters: Floats) -> float:
        logit = parameters[0] + parameters[1] * between[train] + own[train]
        return float(
            (weight * (np.logaddexp(0.0, logit) - rate * logit)).sum()
            + SLOPE_PENALTY / 2 * parameters[1] ** 2
        )

    base = float(np.average(rate, weights=weight))
    level, slope = minimize(loss, np.array([np.log(base / (1 - base)), 0.0]), method="BFGS").x
    return sigmoid(level + slope * between + own)
