"""Where nothing but competing texts is known: a conditional logit over their scores takes the trees' place.

Within a group it says who is clicked more. How much of the difference between groups' mean scores is real is another
question, that the conditional logit never answers, since a group's level cancels in it: a slope is fitted for that,
and one for the level that the group's topic promises.
"""

from __future__ import annotations

import numpy as np

from ml.schema import Floats, Ints
from ml.table.reading import Rows
from ml.table.texts import TOPIC_LEVEL
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
        return _at_level(rows, np.nan_to_num(X[:, 0]), np.empty((len(rows), 0)), known)[0], {}
    z = np.where(scored[:, None], X, 0.0)
    of_group = np.array([name == TOPIC_LEVEL for name in names])
    own, between = z[:, ~of_group], z[:, of_group]
    past = Rivals(train, (rows.rate * rows.weight)[train], rows.weight[train], rows.group[train])
    w = fit(own, past, penalty=WEIGHT_PENALTY)
    p, slopes = _at_level(rows, own @ w, between, train)
    weights = np.zeros(len(names))
    weights[~of_group], weights[of_group] = w, slopes
    share = dict(zip(names, np.abs(weights * z[train].std(axis=0)).tolist(), strict=True))
    return p, share


def _at_level(rows: Rows, score: Floats, levels: Floats, train: Ints) -> tuple[Floats, Floats]:
    """Scores as probabilities, and the weights of the levels, of which each column is the same within a group.

    logit = level + slope·(mean score of the group) + weights·levels + what the row's score differs from the mean.
    """
    from scipy.optimize import minimize

    group, weight, rate = np.asarray(rows.group), rows.weight[train], rows.rate[train]
    size = int(group.max()) + 1
    mean = (
        np.bincount(group, weights=score, minlength=size) / np.maximum(np.bincount(group, minlength=size), 1)
    )[group]
    between = np.column_stack([mean, levels])
    between -= np.average(between[train], axis=0, weights=weight)
    own = score - mean

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slopes = parameters[1:]
        logit = parameters[0] + between[train] @ slopes + own[train]
        value = (
            weight * (np.logaddexp(0.0, logit) - rate * logit)
        ).sum() + SLOPE_PENALTY / 2 * slopes @ slopes
        gap = weight * (sigmoid(logit) - rate)
        return float(value), np.append(gap.sum(), between[train].T @ gap + SLOPE_PENALTY * slopes)

    base = float(np.average(rate, weights=weight))
    start = np.append(np.log(base / (1 - base)), np.zeros(between.shape[1]))
    level, *slopes = minimize(loss, start, jac=True, method="BFGS").x
    return sigmoid(level + between @ np.array(slopes) + own), np.array(slopes[1:])
