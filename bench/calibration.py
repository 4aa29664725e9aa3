"""Which calibration pays? `python -m bench.calibration FOLDER [names…]` on tables that `bench.ctr.sets` wrote.

Our trees on the training part without its latest rows: every candidate is fitted on those, and the product's own rule
chooses on them. Each is then shown on the test rows, whatever was chosen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ml.ctr import calibrate
from ml.ctr.blender import train_blender
from ml.ctr.calibrate import CANDIDATES, Window, choose
from ml.ctr.calibration import IDENTITY
from ml.evaluation import metrics
from ml.schema import Floats, Ints
from ml.table import model
from ml.table.reading import Meaning, Rows, read_rows

SETS = ("movietweetings", "online_retail_ii")
FEW_POSITIVES = 100  # so that isotonic is shown, also where the product would not try it


def windows(folder: Path) -> tuple[Window, Window]:
    """(rows that the trees were not fitted on, test rows) with the trees' log odds."""
    said = json.loads((folder / "options.json").read_text())
    names = ("label", "time", "user", "item", "group", "progressive")
    many = {name: tuple(said[name]) for name in ("categorical", "numeric")}
    meaning = Meaning(**{name: said[name] for name in names}, **many)
    rows = read_rows(folder / "train.parquet", folder / "test.parquet", meaning)
    held, matrix = model._latest(rows, 0), model._features(rows, None, 0)
    if rows.time is None or rows.user is None:
        raise ValueError(f"{folder.name} has no times or no users")
    first = np.array([values[0] if values else -1 for values in rows.sets[0]], np.int64)
    both = Window(
        _log_odds(rows, matrix, held), rows.rate, rows.time, rows.user, first, _one_place(len(rows))
    )
    return both.take(held), both.take(np.flatnonzero(rows.is_test))


def _log_odds(rows: Rows, matrix: Any, held: Ints) -> Floats:
    """Of all rows, by trees grown without the held ones, on which they stopped: as the platform trains."""
    X = matrix.X.astype(np.float32)
    usable = ~rows.is_test & (rows.weight > 0)
    usable[held] = False
    train = np.concatenate([np.flatnonzero(usable), held])
    numbers = {name: f"f{place}" for place, name in enumerate(matrix.names)}
    trees = train_blender(
        X[train],
        rows.rate[train],
        time_order=np.arange(len(train)),
        names=list(numbers.values()),
        rising=frozenset(numbers[name] for name in matrix.rising),
        most_trees=model.MOST_TREES,
        latest_share=len(held) / len(train),
        refit=False,
    )
    return trees.log_odds(X)


def _one_place(rows: int) -> Ints:
    return np.zeros(rows, np.int64)


def table(window: Window, test: Window) -> list[str]:
    """A line per candidate: on the test rows, and what it saves beside the trees' own predictions."""
    chosen = choose(window)
    calibrate.FEWEST_POSITIVES, usual = FEW_POSITIVES, calibrate.FEWEST_POSITIVES
    before = metrics.row_losses(test.calibrated(IDENTITY), test.y)
    lines = [f"chosen: {chosen.calibration.kind}. {chosen.why}"]
    for name in ("none", *CANDIDATES):
        made = IDENTITY if name == "none" else CANDIDATES[name](window)
        if made is None:
            continue
        p = test.calibrated(made)
        saved, low, high = metrics.mean_interval(before - metrics.row_losses(p, test.y), test.cluster)
        figures = (
            metrics.normalised_entropy(p, test.y),
            metrics.calibration_ratio(p, test.y),
            metrics.expected_calibration_error(p, test.y),
        )
        lines.append(
            f"  {name:10}NE {figures[0]:.4f}  calibration {figures[1]:.3f}  ECE {figures[2]:.4f}"
            f"  saved {saved:+.5f} [{low:+.5f}, {high:+.5f}]"
        )
    calibrate.FEWEST_POSITIVES = usual
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=SETS)
    chosen = parser.parse_args()
    for name in chosen.names:
        window, test = windows(chosen.folder / name)
        print(f"{name}: {len(window)} rows to choose on, {len(test)} of the test")
        print("\n".join(table(window, test)))


if __name__ == "__main__":
    main()
