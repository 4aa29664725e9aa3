"""Our click model on public sets: `python -m bench.ctr [upworthy] [movietweetings]`.

Reads the folder ADPLATFORM_DATA (upworthy/upworthy_dev.parquet; movietweetings/ratings_100k.parquet and
movies.parquet) and says so where a set is absent. Splits by time: upworthy from week 201444 on, movietweetings the
last 20 % of ratings, a label (rating of at least 8) being known to strictly later rows. One process per run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FIGURES = (
    ("NE", "normalised_entropy", ".4f"),
    ("log loss", "log_loss", ".5f"),
    ("AUC", "auc", ".4f"),
    ("calibration", "calibration_ratio", ".3f"),
    ("ECE", "calibration_error", ".4f"),
    ("train s", "train_seconds", ".1f"),
    ("text s", "encode_seconds", ".1f"),
    ("µs/row", "predict_us_per_row", ".1f"),
    ("MB", "peak_memory_mb", ".0f"),
)
Row = tuple[str, dict[str, Any]]


def movietweetings(data: Path) -> list[Row]:
    """Films: history features only, then with genres and titles, then with counters frozen at the split."""
    ratings = pd.read_parquet(data / "ratings_100k.parquet")
    table = ratings.merge(pd.read_parquet(data / "movies.parquet"), on="movie_id", how="left")
    table["click"] = (table.pop("rating") >= 8).astype(int)
    table = table.sort_values("timestamp", kind="stable")
    cut = int(len(table) * 0.8)
    options = ["--label", "click", "--time", "timestamp", "--user", "user_id", "--item", "movie_id"]
    with_text = ["--categorical", "genres", "--text", "title"]
    return [
        ("prior", _prior(table["click"][:cut], table["click"][cut:])),
        ("ours, live history", _run(table[:cut], table[cut:], [*options, "--progressive"])),
        (
            "ours, with genres and titles",
            _run(table[:cut], table[cut:], [*options, *with_text, "--progressive"]),
        ),
        ("ours, history frozen", _run(table[:cut], table[cut:], options)),
    ]


def upworthy(data: Path) -> list[Row]:
    """Headline tests: the report beside both ridges, then fit-predict with earlier test weeks known."""
    from ml.text.encoder import Encoder
    from ml.text.headlines import FIRST_TEST_WEEK, Headlines, merge_arms, report

    table = pd.read_parquet(data / "upworthy_dev.parquet")
    arms = merge_arms(
        Headlines(
            test=table["clickability_test_id"].to_numpy(dtype=object),
            headline=table["headline"].tolist(),
            impressions=table["impressions"].to_numpy(dtype=np.float64),
            clicks=table["clicks"].to_numpy(dtype=np.float64),
            week=table["test_week"].to_numpy(),
        )
    )
    figures = report(arms, Encoder.load().encode(arms.headline))
    rows: list[Row] = [(name, _from_report(found)) for name, found in figures.items()]
    merged = pd.DataFrame(vars(arms))
    is_test = merged["week"] >= FIRST_TEST_WEEK
    counts = ["--clicks", "clicks", "--impressions", "impressions"]
    options = [*counts, "--time", "week", "--group", "test", "--text", "headline", "--progressive"]
    return [*rows, ("ours, week by week", _run(merged[~is_test], merged[is_test], options))]


SETS: dict[str, Callable[[Path], list[Row]]] = {"upworthy": upworthy, "movietweetings": movietweetings}


def _from_report(found: dict[str, float]) -> dict[str, Any]:
    return {
        "normalised_entropy": found["ne"],
        "log_loss": found["log_loss"],
        "auc": found["auc"],
        "calibration_ratio": found["calibration"],
        "note": f"pairs {found['pairwise']:.3f} [{found['pairwise_low']:.3f}, {found['pairwise_high']:.3f}], "
        f"|z|>2.58 {found['pairwise_strong']:.3f}, pick ×{found['pick_lift']:.3f}",
    }


def _prior(train: pd.Series, test: pd.Series) -> dict[str, Any]:
    from ml.evaluation import metrics

    y, p = test.to_numpy(dtype=np.float64), np.full(len(test), float(train.mean()))
    return {
        "normalised_entropy": metrics.normalised_entropy(p, y),
        "log_loss": metrics.log_loss(p, y),
        "auc": 0.5,
        "calibration_ratio": metrics.calibration_ratio(p, y),
    }


def _run(train: pd.DataFrame, test: pd.DataFrame, options: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: str(Path(folder) / f"{name}.parquet") for name in ("train", "test", "predictions")}
        train.to_parquet(paths["train"])
        test.to_parquet(paths["test"])
        files = [part for name, path in paths.items() for part in (f"--{name}", path)]
        command = [sys.executable, "-m", "ml", "fit-predict", *files, *options, "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(ran.stderr.strip())
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def _print(name: str, rows: list[Row]) -> None:
    print(f"\n{name:<32}" + "".join(f"{title:>12}" for title, _, _ in FIGURES))
    for title, found in rows:
        cells = [format(found[key], how) if found.get(key) is not None else "" for _, key, how in FIGURES]
        print(f"{title:<32}" + "".join(f"{cell:>12}" for cell in cells) + f"  {found.get('note', '')}")


def main(wanted: list[str]) -> int:
    """Print a table per set; 1 where one was wanted by name and is absent."""
    root = os.environ.get("ADPLATFORM_DATA")
    if not root:
        print("set ADPLATFORM_DATA to the folder of the public data sets", file=sys.stderr)
        return 2
    absent = 0
    for name in wanted or list(SETS):
        if name not in SETS:
            print(f"no set {name}; there are {', '.join(SETS)}", file=sys.stderr)
            return 2
        folder = Path(root) / name
        if not folder.is_dir():
            print(f"{name}: absent ({folder})")
            absent += bool(wanted)
            continue
        _print(name, SETS[name](folder))
    return int(absent > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
