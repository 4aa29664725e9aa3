"""Does text augmentation pay? Headline tests with and without changed copies of the training headlines.

`ADPLATFORM_DATA=… python -m bench.augment [--tests N]`. A copy keeps its outcome and competes in a copy of its test, so
that it never meets its original. Validation and test weeks are not augmented.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ml.evaluation.baselines import embedding_ridge, tfidf_ridge
from ml.evaluation.metrics import pairwise_accuracy
from ml.quality.augment import WAYS, augmented
from ml.text.encoder import Encoder
from ml.text.headlines import FIRST_TEST_WEEK, FIRST_VALIDATION_WEEK, Headlines, merge_arms, train_headlines

SEEDS = (0, 1)
BOOTSTRAPS = 1_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=600, help="training tests, drawn at random")
    table = sampled(read(Path(os.environ["ADPLATFORM_DATA"])), parser.parse_args().tests)
    encoder = Encoder.load(None)
    vectors = encoder.encode(list(table.headline))
    plain = scores(table, vectors)
    test = table.week >= FIRST_TEST_WEEK
    print(f"{len(table):,} arms, {int((table.week < FIRST_VALIDATION_WEEK).sum()):,} of them in training")
    for name, score in plain.items():
        print(f"{name:<20}{'plain':<8}      {accuracy(score, table, test):.4f}")
    for way in WAYS:
        for seed in SEEDS:
            started = time.process_time()
            more, extra = with_copies(table, vectors, encoder, way, seed)
            changed = scores(more, extra)
            spent = time.process_time() - started
            for name, score in changed.items():
                mean, low, high = gained(plain[name], score, table, test)
                reached = accuracy(score, table, test)
                print(
                    f"{name:<20}{way:<8}seed {seed} {reached:.4f}  gain {mean:+.4f} [{low:+.4f}, {high:+.4f}]"
                    f"  {spent:.0f} CPU s"
                )


def read(folder: Path) -> Headlines:
    """The public archive's development part."""
    rows = pd.read_parquet(folder / "upworthy" / "upworthy_dev.parquet")
    week = rows.groupby("clickability_test_id")["test_week"].transform("max")
    return merge_arms(
        Headlines(
            test=rows["clickability_test_id"].to_numpy(object),
            headline=rows["headline"].astype(str).tolist(),
            impressions=rows["impressions"].to_numpy(np.float64),
            clicks=rows["clicks"].to_numpy(np.float64),
            week=week.to_numpy(np.int64),
        )
    )


def take(table: Headlines, rows: np.ndarray) -> Headlines:
    return Headlines(
        test=table.test[rows],
        headline=[table.headline[row] for row in rows.tolist()],
        impressions=table.impressions[rows],
        clicks=table.clicks[rows],
        week=table.week[rows],
    )


def sampled(table: Headlines, tests: int) -> Headlines:
    """Only so many of the training tests; all of the later ones."""
    early = np.unique(table.test[table.week < FIRST_VALIDATION_WEEK].astype(str))
    kept = set(np.random.default_rng(0).permutation(early)[:tests].tolist())
    late = table.week >= FIRST_VALIDATION_WEEK
    inside = np.array([str(test) in kept for test in table.test.tolist()])
    return take(table, np.flatnonzero((late | inside) & (table.impressions > 0)))


def with_copies(
    table: Headlines, vectors: np.ndarray, encoder: Encoder, way: str, seed: int
) -> tuple[Headlines, np.ndarray]:
    """The table with one changed copy of each training arm at its end."""
    rows = np.flatnonzero(table.week < FIRST_VALIDATION_WEEK)
    copy = take(table, rows)
    copy = replace(
        copy,
        headline=augmented(copy.headline, way, seed=seed),
        test=np.array([f"{test} copy" for test in copy.test.tolist()], dtype=object),
    )
    joined = Headlines(
        test=np.concatenate([table.test, copy.test]),
        headline=[*table.headline, *copy.headline],
        impressions=np.concatenate([table.impressions, copy.impressions]),
        clicks=np.concatenate([table.clicks, copy.clicks]),
        week=np.concatenate([table.week, copy.week]),
    )
    return joined, np.vstack([vectors, encoder.encode(list(copy.headline))])


def scores(table: Headlines, vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of three models for the test weeks."""
    test = table.week >= FIRST_TEST_WEEK
    validation = (table.week >= FIRST_VALIDATION_WEEK) & ~test
    parts = [table.arms(part, vectors) for part in (~test & ~validation, validation, test)]
    model = train_headlines(table, vectors, validation=validation, usable=~test)
    return {
        "TF-IDF ridge": tfidf_ridge(*parts).score,
        "embedding ridge": embedding_ridge(*parts).score,
        "conditional logit": model.log_odds(vectors[test]),
    }


def accuracy(score: np.ndarray, table: Headlines, test: np.ndarray) -> float:
    return pairwise_accuracy(score, table.clicks[test], table.impressions[test], table.test[test])[0]


def gained(
    plain: np.ndarray, changed: np.ndarray, table: Headlines, test: np.ndarray
) -> tuple[float, float, float]:
    """Gain of pairwise accuracy with its 95 % interval over tests."""
    clicks, shown, group = table.clicks[test], table.impressions[test], table.test[test].astype(str)
    names, code = np.unique(group, return_inverse=True)
    rows_of = [np.flatnonzero(code == number) for number in range(len(names))]
    right, pairs = np.zeros((2, len(names))), np.zeros(len(names))
    for number, rows in enumerate(rows_of):
        for side, score in enumerate((plain, changed)):
            share, count = pairwise_accuracy(score[rows], clicks[rows], shown[rows], group[rows])
            right[side, number] = share * count if count else 0.0
            pairs[number] = count
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(names), (BOOTSTRAPS, len(names)))
    difference = (right[1] - right[0])[draws].sum(1) / pairs[draws].sum(1)
    low, high = np.quantile(difference, (0.025, 0.975))
    return float((right[1] - right[0]).sum() / pairs.sum()), float(low), float(high)


if __name__ == "__main__":
    main()
