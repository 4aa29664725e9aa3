"""Figures of written probabilities: quality, calibration by segment, pairs of headlines, differences of losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.ctr.sets import Prepared
from ml.evaluation import metrics

LEAST_EXPECTED_CLICKS = 1_000
RIGHT = (0.9, 1.1)  # the calibration that a segment must keep
PARTS = 4  # numbers and times make segments of equally many rows


@dataclass(frozen=True)
class Segment:
    """Test rows of one value with enough expected clicks."""

    name: str
    expected: float
    ratio: float

    @property
    def is_right(self) -> bool:
        """Whether predicted and observed clicks agree within RIGHT."""
        return RIGHT[0] <= self.ratio <= RIGHT[1]


class Judge:
    """Knows the outcomes of a set's test rows."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._test, options = prepared.test.reset_index(drop=True), prepared.options
        if options.label:
            self._y = self._test[options.label].to_numpy(dtype=np.float64)
            self._weight = np.ones(len(self._test))
        else:
            self._weight = self._test[options.impressions].to_numpy(dtype=np.float64)
            self._y = self._test[options.clicks].to_numpy(dtype=np.float64) / self._weight

    def figures(self, p: Any) -> dict[str, float]:
        """NE, log loss, AUC, calibration ratio and ECE; shares of right pairs where texts compete."""
        found = metrics.summary(p, self._y, self._weight)
        names = ("ne", "log_loss", "auc", "calibration", "ece")
        return {name: found[name] for name in names} | self._pairs(p)

    def pair_intervals(self, p: Any) -> dict[str, tuple[float, float, float]]:
        """Share of right pairs with its 95 % interval, drawing whole tests: of all pairs, of those with |z| > 2.58."""
        if not self._prepared.options.clicks:
            return {}
        found = {}
        for name, least_z in (("pairs", 0.0), ("strong", metrics.STRONG_Z)):
            right, pairs, tests = self._pairs_by_test(p, least_z)
            found[name] = metrics.mean_interval(right / pairs, tests, pairs)
        return found

    def number_of_pairs(self) -> tuple[int, int]:
        """(all pairs of unequal rate, those with |z| > 2.58)."""
        p = np.zeros(len(self._test))
        every, strong = (self._pairs_by_test(p, least_z)[1].sum() for least_z in (0.0, metrics.STRONG_Z))
        return int(every), int(strong)

    def difference(self, ours: Any, other: Any) -> tuple[float, float, float]:
        """Log loss of ours less the other's, with its 95 % interval; whole visitors (tests) are drawn."""
        gap = metrics.row_losses(ours, self._y) - metrics.row_losses(other, self._y)
        return metrics.mean_interval(gap, self._test[self._prepared.cluster].to_numpy(), self._weight)

    def segments(self, p: Any) -> list[Segment]:
        """Every value of the set's segment columns with at least 1,000 expected clicks."""
        found = []
        for column in self._prepared.segments:
            for name, rows in _members(self._test[column]):
                expected = float((p * self._weight)[rows].sum())
                clicks = float((self._y * self._weight)[rows].sum())
                if expected >= LEAST_EXPECTED_CLICKS:
                    ratio = expected / clicks if clicks else float("inf")
                    found.append(Segment(f"{column} {name}", expected, ratio))
        return found

    def _pairs(self, p: Any) -> dict[str, float]:
        if not self._prepared.options.clicks:
            return {}
        shares = {}
        for name, least_z in (("pairs", 0.0), ("strong", metrics.STRONG_Z)):
            right, pairs, _ = self._pairs_by_test(p, least_z)
            shares[name] = float(right.sum() / pairs.sum())
        return shares

    def _pairs_by_test(self, p: Any, least_z: float) -> tuple[Any, Any, Any]:
        """Per test with a pair: right pairs (ties half), pairs, name of the test."""
        clicks, shown = self._y * self._weight, self._weight
        tests = self._test[self._prepared.options.group].to_numpy()
        counted = []
        for rows in self._test.groupby(self._prepared.options.group).indices.values():
            share, pairs = metrics.pairwise_accuracy(
                p[rows], clicks[rows], shown[rows], tests[rows], least_z=least_z
            )
            if pairs:
                counted.append((share * pairs, pairs, tests[rows[0]]))
        right, pairs, names = zip(*counted, strict=True)
        return np.array(right), np.array(pairs, dtype=np.float64), np.array(names, dtype=object)


def _members(column: Any) -> list[tuple[str, Any]]:
    """(value, positions): each of "a|b" counts; numbers of many values and times are cut into equal parts."""
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)
    if is_number and column.nunique() > 50 and not column.name.endswith("_id"):
        part = (column.rank(method="first") - 1) * PARTS // len(column)
        return [(f"part {int(number) + 1}", np.flatnonzero(part == number)) for number in range(PARTS)]
    values = column.fillna("").astype(str).str.split("|").explode()
    return [(str(value), rows.index.to_numpy()) for value, rows in values.groupby(values) if value]
