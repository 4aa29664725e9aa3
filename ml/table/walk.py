"""History features of every row, each computed from what was known before it.

With times: a row sees outcomes of strictly earlier rows and, where groups compete, none of its own group; a group's
outcomes become known when its last row is over. Test outcomes are seen only in progressive mode.
Without times: training rows see the other folds, test rows see all training rows.
"""

from __future__ import annotations

import numpy as np

from ml.schema import Floats, Ints, Vectors
from ml.table.history import History
from ml.table.reading import Rows

FOLDS = 8


def history_features(
    rows: Rows, *, vectors: Vectors | None, seed: int
) -> tuple[Floats, list[str], frozenset[str]]:
    """(features, their names, the names of those that must not lower the prediction)."""
    if rows.time is None:
        return _out_of_fold(rows, vectors, seed)
    history = _history(rows, vectors)
    found: list[list[float]] = [[] for _ in range(len(rows))]
    order = np.argsort(rows.time, kind="stable").tolist()
    times = rows.time.tolist()
    released = _released(rows)
    rate, weight = rows.rate.tolist(), rows.weight.tolist()
    next_release = start = 0
    while start < len(order):
        now = times[order[start]]
        while next_release < len(released) and released[next_release][0] < now:
            row = released[next_release][1]
            history.observe(row, rate[row], weight[row])
            next_release += 1
        while start < len(order) and times[order[start]] == now:
            found[order[start]] = history.describe(order[start])
            start += 1
    return np.array(found, dtype=np.float64), history.names, history.rising


def folds_of(rows: Rows, seed: int) -> Ints:
    """A fold per training row, −1 for test rows. Groups stay whole.

    Where every user of the test is new, users stay whole: a training row then knows as little of its user as a test
    row does. Otherwise the trees would learn to lean on a history that nobody has when it counts.
    """
    rng = np.random.default_rng(seed)
    unit = rows.user if _meets_new_users(rows) else rows.group
    if unit is None:
        fold = rng.integers(0, FOLDS, len(rows))
    else:
        fold = rng.integers(0, FOLDS, int(unit.max()) + 1)[unit]
    return np.where(rows.is_test, -1, fold).astype(np.int64)


def _meets_new_users(rows: Rows) -> bool:
    """Whether no test row belongs to a user of the training rows; groups of several users forbid parting by user."""
    if rows.user is None or np.isin(rows.user[rows.is_test], rows.user[~rows.is_test]).any():
        return False
    if rows.group is None:
        return True
    pairs = np.unique(np.column_stack([rows.group, rows.user]), axis=0)
    return len(pairs) == len(np.unique(rows.group))


def release_times(rows: Rows) -> Floats:
    """When a row's outcome is known: its own time, or that of the last row of its group."""
    if rows.time is None:
        raise ValueError("a table without times has no order")
    if rows.group is None:
        return rows.time
    last = np.full(int(rows.group.max()) + 1, -np.inf)
    np.maximum.at(last, rows.group, rows.time)
    released: Floats = last[rows.group]
    return released


def _released(rows: Rows) -> list[tuple[float, int]]:
    """(release, row) of all rows with an outcome, in order of release."""
    at = release_times(rows)
    known = np.flatnonzero(~np.isnan(rows.rate) & (rows.weight > 0))
    known = known[np.lexsort((rows.time[known], at[known]))] if rows.time is not None else known
    return list(zip(at[known].tolist(), known.tolist(), strict=True))


def _out_of_fold(rows: Rows, vectors: Vectors | None, seed: int) -> tuple[Floats, list[str], frozenset[str]]:
    fold = folds_of(rows, seed)
    known = ~rows.is_test & (rows.weight > 0)
    found: list[list[float]] = [[] for _ in range(len(rows))]
    for number in (*range(FOLDS), -1):
        history = _history(rows, vectors)
        for row in np.flatnonzero(known & (fold != number)).tolist():
            history.observe(row, float(rows.rate[row]), float(rows.weight[row]))
        for row in np.flatnonzero(fold == number).tolist():
            found[row] = history.describe(row)
    return np.array(found, dtype=np.float64), history.names, history.rising


def _history(rows: Rows, vectors: Vectors | None) -> History:
    train = ~rows.is_test & (rows.weight > 0)
    base = float(np.average(rows.rate[train], weights=rows.weight[train])) if train.any() else 0.5
    return History(rows, base_rate=base, vectors=vectors)
