"""What every peer shares: reading a prepared set, its columns as codes, the validation part, the cost of a run.

A peer is a script: `python bench/peers/NAME.py FOLDER PREDICTIONS [--variant V] [--seed N]`. It reads train.parquet,
test.parquet (never its outcomes) and options.json of the folder, writes one probability per test row and prints one
JSON object with what it cost and which settings it chose.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

VALIDATION_SHARE = 0.15
MOST_VALUES_OF_A_SET = 64  # sets of more values are one category, the whole set, for trees
LONGEST_SET = 8
EDGE = 1e-6


@dataclass(frozen=True)
class Field:
    """One input column: `codes` of both tables, 0 for what the training rows do not know.

    kind "category": shape (rows,); "set": shape (rows, LONGEST_SET), 0 also where there is no further value;
    "number": floats, standardised by the training rows, 0 where missing.
    """

    name: str
    kind: str
    codes: Any
    size: int


@dataclass(frozen=True)
class Table:
    """A prepared set as a peer sees it; the first `trained` rows are for training."""

    frame: pd.DataFrame
    trained: int
    y: Any
    weight: Any
    options: dict[str, Any]

    @property
    def validation(self) -> Any:
        """Mask over the training rows: the newest, or all rows of some people where there is no time."""
        train = self.frame.iloc[: self.trained]
        time_column, start = self.options["time"], self.options["validate_from"]
        if time_column is None:
            clusters = train[self.options["cluster"]]
            chosen = np.random.default_rng(0).permutation(clusters.unique())
            return clusters.isin(chosen[: round(len(chosen) * VALIDATION_SHARE)]).to_numpy()
        times = train[time_column].to_numpy()
        if start is None:
            start = np.sort(times)[round(len(times) * (1 - VALIDATION_SHARE))]
        return times >= start

    def fields(self) -> list[Field]:
        """User, item, categories and numbers. People none of whom is in both tables are no input."""
        o = self.options
        names = [name for name in (o["user"], o["item"]) if name]
        known = [name for name in names if self._is_shared(name)]
        several = [
            name
            for name in o["categorical"]
            if self.frame[name].astype(str).str.contains("|", regex=False).any()
        ]
        single = [name for name in o["categorical"] if name not in several]
        return [
            *(self._category(name) for name in (*known, *single)),
            *(self._set(name) for name in several),
            *(self._number(name) for name in o["numeric"]),
        ]

    def _is_shared(self, name: str) -> bool:
        return bool(self.frame[name].iloc[: self.trained].isin(self.frame[name].iloc[self.trained :]).any())

    def _category(self, name: str) -> Field:
        values = self.frame[name].astype(object)
        known = {
            value: code for code, value in enumerate(values.iloc[: self.trained].dropna().unique(), start=1)
        }
        return Field(name, "category", values.map(known).fillna(0).to_numpy(dtype=np.int64), len(known) + 1)

    def _set(self, name: str) -> Field:
        parts = self.frame[name].fillna("").astype(str).str.split("|")
        known: dict[str, int] = {}
        for values in parts.iloc[: self.trained]:
            for value in values:
                if value:
                    known.setdefault(value, len(known) + 1)
        codes = np.zeros((len(parts), LONGEST_SET), dtype=np.int64)
        for row, values in enumerate(parts):
            found = [known[value] for value in values if value in known][:LONGEST_SET]
            codes[row, : len(found)] = found
        return Field(name, "set", codes, len(known) + 1)

    def _number(self, name: str) -> Field:
        values = self.frame[name].to_numpy(dtype=np.float64)
        mean, spread = np.nanmean(values[: self.trained]), np.nanstd(values[: self.trained]) + 1e-9
        return Field(name, "number", np.nan_to_num((values - mean) / spread), 1)


def read(folder: Path) -> Table:
    """The set without the outcomes of its test rows."""
    options = json.loads((folder / "options.json").read_text())
    outcomes = [name for name in (options["label"], options["clicks"], options["impressions"]) if name]
    train = pd.read_parquet(folder / "train.parquet")
    test = pd.read_parquet(folder / "test.parquet").drop(columns=outcomes)
    if options["label"]:
        y, weight = train[options["label"]].to_numpy(dtype=np.float64), np.ones(len(train))
    else:
        weight = train[options["impressions"]].to_numpy(dtype=np.float64)
        y = train[options["clicks"]].to_numpy(dtype=np.float64) / weight
    inputs = train.drop(columns=outcomes)
    return Table(pd.concat([inputs, test], ignore_index=True), len(train), y, weight, options)


def log_loss(p: Any, y: Any, weight: Any = None) -> float:
    """In nats per impression."""
    p = np.clip(np.asarray(p, dtype=np.float64), EDGE, 1 - EDGE)
    return float(np.average(-(y * np.log(p) + (1 - y) * np.log1p(-p)), weights=weight))


@dataclass(frozen=True)
class Answer:
    """What a fitted peer gives back: a function for rows of the whole table, and its settings."""

    predict: Callable[[Any], Any]
    settings: dict[str, Any]
    encode_seconds: float = 0.0


def main(fit: Callable[[Table, str, int], Answer], variants: tuple[str, ...]) -> None:
    """Run a peer from the command line; processor seconds are measured, reading the files apart."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    table = read(chosen.folder)
    started = time.process_time()
    answer = fit(table, chosen.variant, chosen.seed)
    fitted = time.process_time()
    test = np.arange(table.trained, len(table.frame))
    probability = np.clip(np.asarray(answer.predict(test), dtype=np.float64), EDGE, 1 - EDGE)
    predicted = time.process_time()
    pd.DataFrame({"probability": probability}).to_parquet(chosen.predictions, index=False)
    print(
        json.dumps(
            {
                "train_seconds": fitted - started - answer.encode_seconds,
                "encode_seconds": answer.encode_seconds,
                "predict_us_per_row": (predicted - fitted) / len(test) * 1e6,
                "peak_memory_mb": _peak_memory_mb(),
                "settings": answer.settings,
            }
        )
    )


def _peak_memory_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status names no peak memory")
