"""What a conversion is worth, with heavy tails.

A mean of few amounts is made by the largest of them. So amounts beyond three standard deviations of their owner's
logarithms are cut there, what was cut is given back to all of that owner's alike, and the means of few lean on those
above: line item → campaign → advertiser. An amount of 0 counts as one: some conversions have no value.

A lognormal with Duan's smearing was measured beside it and is worse (docs/ml.md): its one law of residuals promises too
much to groups that differ less than others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.schema import Column, Floats

STRENGTH = 3.0  # conversions like those of the level above with which a group starts
FARTHEST = 3.0  # standard deviations of the logarithm
MOST_GIVEN_BACK = 1.25  # times the mean without it: beyond that one amount would make everybody rich

Path = tuple[int, ...]  # such as (advertiser, campaign, line item): the owner first


@dataclass(frozen=True)
class AmountModel:
    """Expected value of one conversion by path; a path that was never seen has that of its longest known part."""

    by_path: Mapping[Path, float]

    def expected(self, path: Path) -> float | None:
        """None where not even the owner is known."""
        for length in range(len(path), 0, -1):
            found = self.by_path.get(path[:length])
            if found is not None:
                return found
        return None


def fit_amounts(amounts: Floats, paths: Sequence[Path], *, strength: float = STRENGTH) -> AmountModel:
    """From the amounts of single conversions and whose each was."""
    owners = np.array([path[0] for path in paths], np.int64)
    by_path: dict[Path, float] = {}
    for owner in np.unique(owners).tolist():
        rows = np.flatnonzero(owners == owner)
        by_path |= _of_owner(amounts[rows], [paths[row] for row in rows.tolist()], strength)
    return AmountModel(by_path)


def _of_owner(amounts: Floats, paths: Sequence[Path], strength: float) -> dict[Path, float]:
    kept = np.minimum(amounts, _most(amounts))
    given_back = min(float(amounts.sum() / kept.sum()), MOST_GIVEN_BACK) if kept.sum() > 0 else 1.0
    sums = _sums(kept, paths)
    means: dict[Path, float] = {}
    for path in sorted(sums, key=len):
        count, total = sums[path]
        above = means.get(path[:-1])
        means[path] = total / count if above is None else (total + strength * above) / (count + strength)
    return {path: mean * given_back for path, mean in means.items()}


def _most(amounts: Floats) -> float:
    """Beyond which an amount is cut."""
    logs = np.log(amounts[amounts > 0])
    return float(np.exp(logs.mean() + FARTHEST * logs.std())) if len(logs) else 0.0


def _sums(kept: Column, paths: Sequence[Path]) -> dict[Path, tuple[float, float]]:
    """Count and total of every path and of all that it begins with."""
    sums: dict[Path, tuple[float, float]] = {}
    for amount, path in zip(kept.tolist(), paths, strict=True):
        for length in range(1, len(path) + 1):
            count, total = sums.get(path[:length], (0, 0.0))
            sums[path[:length]] = (count + 1, total + amount)
    return sums
