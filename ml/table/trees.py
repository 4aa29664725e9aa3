"""LightGBM over a table's features: how many trees is chosen on held rows, then a few forests share all rows.

Trees start from a logistic regression where they have little to add to it on the held rows. Where there are many
non-clicks, each forest sees all clicks and its own share of the rest, which stands for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ml.ctr.blender import Blender
from ml.ctr.sampling import sampled_rows
from ml.schema import Floats, Ints, Mask, Vectors
from ml.table.start import Start

MOST_TREES, PATIENCE = 400, 10
FORESTS = 2
LEAST_NON_CLICKS, NON_CLICKS_A_CLICK = 30_000, 5
# Where trees lower a sum's loss below this share of it, there is more than a sum to be learned, and they do better from
# nothing; otherwise a fraction of the trees is enough.
LITTLE = 0.99
# Chosen on parts of the training rows of three public sets (docs/ml.md, "Trees of a table").
SETTINGS = {
    "objective": "cross_entropy",
    "learning_rate": 0.15,
    "num_leaves": 15,
    "feature_fraction": 0.5,
    "lambda_l2": 1.0,
    "max_bin": 63,
    "bin_construct_sample_cnt": 20_000,
    "enable_bundle": False,
    "force_col_wise": True,
    "num_threads": 1,
    "deterministic": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Forest:
    """Mean log odds of some boosters, added to a start."""

    boosters: list[Blender]
    start: Start | None

    def log_odds(self, features: Vectors) -> Floats:
        """Of rows, from their features (one a row of the array)."""
        found = self._trees(features)
        return found if self.start is None else found + self.start.log_odds(features)

    def importance(self, features: Vectors) -> dict[int, float]:
        """Share of each feature, by number, largest first: of the gain of the trees, and of the variance of the start,
        each at the variance over such rows that it adds."""
        gains = [booster.importance() for booster in self.boosters]
        by_trees = np.mean(
            [[found[_name(place)] for place in range(len(features))] for found in gains], axis=0
        )
        by_start = np.zeros(len(features)) if self.start is None else self.start.shares(features)
        moved = float(self._trees(features).var())
        shares = by_start + by_trees * (moved if by_start.any() else 1.0)
        shares = shares / (shares.sum() or 1.0)
        return {int(place): float(shares[place]) for place in np.argsort(-shares, kind="stable")}

    def _trees(self, features: Vectors) -> Floats:
        rows = features.T
        return np.asarray(np.mean([booster.log_odds(rows) for booster in self.boosters], axis=0))


def grow(
    features: Vectors,
    names: Sequence[str],
    rising: frozenset[str],
    *,
    rate: Floats,
    weight: Floats,
    held: Mask,
    seed: int,
    may_start: bool,
) -> tuple[Forest, Forest]:
    """(fitted without the held rows, fitted on all): float32 features, one a row of the array, of rows with outcomes.

    No higher value of a `rising` feature lowers a prediction. Same inputs and seed give the same trees. `may_start`:
    whether a logistic regression is tried; a line goes on where counts of the test lie beyond those of training.
    """
    ground = _Ground(features, list(names), rising, rate, weight, seed)
    earlier, latest = np.flatnonzero(~held), np.flatnonzero(held)
    if not (_has_both(rate[earlier]) and _has_both(rate[latest])):
        tree = Forest([ground.fit(np.arange(len(rate)), weight, None, trees=1, forest=0)], None)
        return tree, tree
    rows, shown = ground.sample(earlier, forest=0)
    first = ground.first(rows, shown, latest, may_start=may_start)
    return first, ground.final(first)


@dataclass(frozen=True)
class _Ground:
    """The rows that trees are grown on; all are put into bins once, and whoever fits on a part shares them."""

    features: Vectors
    names: list[str]
    rising: frozenset[str]
    rate: Floats
    weight: Floats
    seed: int

    def sample(self, rows: Ints, *, forest: int) -> tuple[Ints, Floats]:
        """(some of the rows, their weights): all clicks, and of the rest no more than is of use."""
        clicked = self.rate[rows]
        others = int((clicked <= 0).sum())
        most = max(LEAST_NON_CLICKS, NON_CLICKS_A_CLICK * (len(rows) - others))
        if others <= most:
            return rows, self.weight[rows]
        share = most / others
        kept = rows[sampled_rows(clicked, share=share, seed=self.seed + forest)]
        return kept, self.weight[kept] * np.where(self.rate[kept] > 0, 1.0, 1 / share)

    def first(self, rows: Ints, weight: Floats, latest: Ints, *, may_start: bool) -> Forest:
        """Trees of these rows: from a sum where they have little to add to it, else from nothing."""
        if not may_start:
            return self.from_nothing(rows, weight, latest)
        start = self.start(rows, weight)
        alone = _loss(start.log_odds(self.features[:, latest]), self.rate[latest], self.weight[latest])
        from_sum = self.stopped(rows, weight, latest, start, above=LITTLE * alone)
        return from_sum or self.from_nothing(rows, weight, latest)

    def from_nothing(self, rows: Ints, weight: Floats, latest: Ints) -> Forest:
        """Trees alone, as many as the latest rows want."""
        found = self.stopped(rows, weight, latest, None, above=-1.0)
        if found is None:
            raise ValueError("no loss is negative")
        return found

    def start(self, rows: Ints, weight: Floats) -> Start:
        """The logistic regression of these rows."""
        return Start.fit(self.features[:, rows], self.names, self.rising, rate=self.rate[rows], weight=weight)

    def stopped(
        self, rows: Ints, weight: Floats, latest: Ints, start: Start | None, *, above: float
    ) -> Forest | None:
        """Trees of these rows until the latest gain no more; None as soon as their loss falls below a bound."""
        import lightgbm

        losses: list[float] = []

        def give_up(seen: Any) -> None:
            losses.append(float(seen.evaluation_result_list[0][2]))
            if losses[-1] < above:
                raise lightgbm.callback.EarlyStopException(len(losses) - 1, [])

        booster = lightgbm.train(
            self._parameters(0),
            self._part(rows, weight, start),
            num_boost_round=MOST_TREES,
            valid_sets=[self._part(latest, self.weight[latest], start)],
            callbacks=[give_up, lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        if min(losses) < above:
            return None
        trees = max(1, int(booster.best_iteration))
        return Forest([Blender(booster.model_to_string(num_iteration=trees))], start)

    def final(self, first: Forest) -> Forest:
        """As many trees as there, on all rows, in several forests."""
        everything = np.arange(len(self.rate))
        sampled = [self.sample(everything, forest=forest) for forest in range(FORESTS)]
        start = None if first.start is None else self.start(*sampled[0])
        trees = first.boosters[0].trees
        grown = [self.fit(*part, start, trees=trees, forest=number) for number, part in enumerate(sampled)]
        return Forest(grown, start)

    def fit(self, rows: Ints, weight: Floats, start: Start | None, *, trees: int, forest: int) -> Blender:
        """So many trees."""
        import lightgbm

        part = self._part(rows, weight, start)
        return Blender(
            lightgbm.train(self._parameters(forest), part, num_boost_round=trees).model_to_string()
        )

    def _part(self, rows: Ints, weight: Floats, start: Start | None) -> Any:
        part = self._binned.subset(rows).construct()
        part.set_weight(weight)
        if start is not None:
            part.set_init_score(start.log_odds(self.features[:, rows]))
        return part

    @cached_property
    def _binned(self) -> Any:
        import lightgbm

        data = lightgbm.Dataset(
            self.features.T,
            self.rate,
            weight=self.weight,
            feature_name=[_name(place) for place in range(len(self.names))],
            params=self._parameters(0),
            free_raw_data=False,
        )
        return data.construct()

    def _parameters(self, forest: int) -> dict[str, Any]:
        return {
            "min_data_in_leaf": min(100, max(5, len(self.rate) // 200)),
            "monotone_constraints": [int(name in self.rising) for name in self.names],
            "seed": self.seed + 1_000 * forest,
            **SETTINGS,
        }


def _name(place: int) -> str:
    """LightGBM takes no spaces or brackets in a name."""
    return f"f{place}"


def _has_both(rate: Floats) -> bool:
    return len(rate) > 0 and bool(rate.max() > 0) and bool(rate.min() < 1)


def _loss(log_odds: Floats, rate: Floats, weight: Floats) -> float:
    return float(np.average(np.logaddexp(0.0, log_odds) - rate * log_odds, weights=weight))
