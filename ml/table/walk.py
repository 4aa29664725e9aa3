"""History features of every row, each computed from what was known before it.

With times: a row sees outcomes of strictly earlier rows and, where groups compete, none of its own group; a group's
outcomes become known when its last row is over. Test outcomes are seen only in progressive mode.
Without times: training rows see the other folds, test rows see all training rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml.schema import Floats, Ints, Vectors
from ml.table.history import History, Table
from ml.table.reading import Rows

FOLDS = 8


def history_features(
    rows: Rows, *, vectors: Vectors | None, seed: int
) -> tuple[Floats, list[str], frozenset[str]]:
    """(features, their names, the names of those that must not lower the prediction)."""
    table = Table.of(rows, vectors)
    names = table.names()
    found = np.empty((len(names), len(rows)))
    views = _out_of_fold(rows, seed) if rows.time is None else [_in_time(rows, rows.time)]
    for events, wanted, cut in views:
        for place, column in enumerate(History(table, events, wanted, cut).features()):
            found[place, wanted] = column
    rising = {name for name in names if name.endswith("_rate") and "fading" not in name}
    return found.T, names, frozenset(rising)


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


def _in_time(rows: Rows, time: Floats) -> tuple[Ints, Ints, Ints]:
    """(rows with an outcome in order of release, all rows, how many of the former each of the latter sees)."""
    at = release_times(rows)
    known = np.flatnonzero(~np.isnan(rows.rate) & (rows.weight > 0))
    known = known[np.lexsort((time[known], at[known]))]
    return known, np.arange(len(rows)), np.searchsorted(at[known], time)


def _out_of_fold(rows: Rows, seed: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """The same for each fold, which sees all of the others, and the test rows."""
    fold = folds_of(rows, seed)
    known = ~rows.is_test & (rows.weight > 0)
    for number in (*range(FOLDS), -1):
        events, wanted = np.flatnonzero(known & (fold != number)), np.flatnonzero(fold == number)
        yield events, wanted, np.full(len(wanted), len(events))
