"""How many trees are worth their time in a request? python -m bench.trees FOLDER [--sets movietweetings online_retail_ii]

FOLDER holds the tables of `python -m bench.ctr.sets`. Rows are replayed through the live statistics as in serving; each
size is grown on the earlier rows, with the learning rate that did best on the latest fifth of them, and judged on rows
of later time that neither it nor its choice has seen. Beside the normalised entropy: CPU µs to rank 50 ads in the
compiled form, other ads each time, since a processor learns the way of rows that it has just seen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ml import artifacts
from ml.ctr import features
from ml.ctr.blender import Blender, train_blender
from ml.ctr.calibration import Calibration
from ml.ctr.compile import compile_blender
from ml.ctr.features import SCHEMA
from ml.ctr.replay import replay
from ml.ctr.runtime import CompiledBlender
from ml.evaluation.metrics import normalised_entropy
from ml.schema import Floats, ImpressionLog, Vectors

SIZES = (
    (10, 7),
    (25, 7),
    (25, 15),
    (50, 15),
    (50, 31),
    (100, 15),
    (100, 31),
    (200, 31),
    (200, 63),
    (400, 63),
)
RATES = (0.05, 0.1, 0.2, 0.4)
RANKED = 50
COLUMNS = {
    "movietweetings": ("timestamp", "user_id", "movie_id", "liked"),
    "online_retail_ii": ("at", "visitor", "product", "bought"),
}


class Table(NamedTuple):
    """Feature rows in time order; those from `cut` on are the test."""

    X: Vectors
    y: Floats
    cut: int


class Row(NamedTuple):
    """One size and what it came to."""

    trees: int
    leaves: int
    rate: float
    entropy: float
    micros: float


def table_of(folder: Path, name: str) -> Table:
    """A set as the blender sees it: who, what, when; nothing else of it has a place among the features."""
    import pandas as pd

    at, user, item, label = COLUMNS[name]
    parts = [pd.read_parquet(folder / name / f"{part}.parquet") for part in ("train", "test")]
    rows = pd.concat(parts, ignore_index=True)
    moment = (
        pd.to_datetime(rows[at]).astype("int64").to_numpy(np.float64) / 1e9
        if rows[at].dtype == "O"
        else rows[at]
    )
    seconds = np.asarray(moment, np.float64)
    clicked = rows[label].to_numpy(np.float64)
    number = np.unique(rows[item].astype(str), return_inverse=True)[1]
    log = ImpressionLog(
        time=seconds,
        click_time=np.where(clicked > 0, seconds, np.nan),
        creative=number,
        line_item=number,
        campaign=np.zeros(len(rows), np.int64),
        advertiser=np.zeros(len(rows), np.int64),
        slot=np.zeros(len(rows), np.int64),
        site=np.zeros(len(rows), np.int64),
        visitor=rows[user].astype(str).to_numpy(dtype=object),
        context={},
    )
    return Table(features.build(replay(log)), clicked, len(parts[0]))


def grown(table: Table, trees: int, leaves: int) -> tuple[Blender, float]:
    """The size with its best learning rate, on all rows before the test."""
    before = np.arange(table.cut)
    cut = round(table.cut * 0.8)

    def fit(rows: np.ndarray, rate: float) -> Blender:
        return train_blender(
            table.X[rows],
            table.y[rows],
            time_order=rows,
            latest_share=0.0,
            most_trees=trees,
            parameters={"num_leaves": leaves, "learning_rate": rate},
        )

    def entropy(rate: float) -> float:
        latest = before[cut:]
        return normalised_entropy(fit(before[:cut], rate).predict(table.X[latest]), table.y[latest])

    best = min(RATES, key=entropy)
    return fit(before, best), best


def micros_of(blender: Blender, X: Vectors, *, rounds: int = 400) -> float:
    """Median CPU µs of the compiled trees over 50 rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [blender.save(folder), compile_blender(blender, folder), Calibration().save(folder)]
        artifacts.write(
            folder, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=0, data_range=("", "")
        )
        compiled = CompiledBlender.load(folder)
    rng = np.random.default_rng(0)
    took = []
    for _ in range(rounds):
        rows = X[rng.integers(0, len(X), RANKED)]
        started = time.thread_time_ns()
        compiled.log_odds(rows)
        took.append((time.thread_time_ns() - started) / 1000)
    return float(np.median(took))


def measure(table: Table) -> list[Row]:
    rows = []
    later = slice(table.cut, None)
    for trees, leaves in SIZES:
        blender, rate = grown(table, trees, leaves)
        entropy = normalised_entropy(blender.predict(table.X[later]), table.y[later])
        rows.append(Row(trees, leaves, rate, entropy, micros_of(blender, table.X[later])))
    served = train_blender(table.X[: table.cut], table.y[: table.cut], time_order=np.arange(table.cut))
    entropy = normalised_entropy(served.predict(table.X[later]), table.y[later])
    return [*rows, Row(served.trees, 31, 0.05, entropy, micros_of(served, table.X[later]))]


def shown(name: str, rows: list[Row]) -> str:
    lines = [
        f"### {name}",
        "| trees | leaves | learning rate | NE | µs for 50 ads |",
        "|---|---|---|---|---|",
    ]
    *sizes, served = rows
    lines += [_line(row) for row in sizes]
    return "\n".join([*lines, _line(served) + " what trains today"])


def _line(row: Row) -> str:
    return f"| {row.trees} | {row.leaves} | {row.rate:g} | {row.entropy:.4f} | {row.micros:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(COLUMNS), choices=list(COLUMNS))
    chosen: Any = parser.parse_args()
    for name in chosen.sets:
        if not (chosen.folder / name).exists():
            print(f"### {name}\nabsent: python -m bench.ctr.sets {chosen.folder} {name}")
            continue
        print(shown(name, measure(table_of(chosen.folder, name))), flush=True)


if __name__ == "__main__":
    main()
