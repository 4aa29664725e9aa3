"""The command line of ml: `fit-predict`, our click model on anyone's table, `adapt` and `pretrain` a transformer.

Exit codes: 0 done, 1 the run failed, 2 wrong usage (also a table that is not as described). Errors are one line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ml import adapting, compressing, pretraining
from ml.table.reading import Meaning, TableError

DONE, FAILED, USAGE = 0, 1, 2
PROBABILITY = "probability"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.disable(logging.WARNING)
    try:
        result = COMMANDS[options.command](options)
    except TableError as error:
        print(f"ml {options.command}: {error}", file=sys.stderr)
        return USAGE
    except Exception as error:  # a command says in one line why it failed
        if os.environ.get("ML_TRACEBACK"):
            raise
        reason = (str(error).splitlines() or [""])[0]
        print(f"ml {options.command}: {type(error).__name__}: {reason}", file=sys.stderr)
        return FAILED
    print(json.dumps(result) if options.json else _as_text(result))
    return DONE


def fit_predict(options: argparse.Namespace) -> dict[str, Any]:
    """Fit, write the probabilities, and only then look at the test outcomes (if the file has any)."""
    from ml.table.model import fit_predict as run
    from ml.table.reading import read_rows

    meaning = meaning_of(options)
    if meaning.text:
        import torch

        torch.set_num_threads(1)
    if meaning.progressive and meaning.time is None:
        raise TableError("--progressive needs --time")
    rows = read_rows(options.train, options.test, meaning)
    fitted = run(rows, encoder=options.encoder, seed=options.seed)
    _write(options.predictions, fitted.probability)
    tested = int(rows.is_test.sum())
    return {
        **_figures(options.test, meaning, fitted.probability),
        "train_rows": len(rows) - tested,
        "test_rows": tested,
        "encode_seconds": round(fitted.encode_seconds, 3),
        "train_seconds": round(fitted.train_seconds, 3),
        "predict_us_per_row": round(fitted.predict_seconds / tested * 1e6, 2),
        "peak_memory_mb": _peak_memory_mb(),
        "importance": {name: round(share, 4) for name, share in list(fitted.features.items())[:20]},
        "predictions": str(options.predictions),
    }


def _figures(test: Path, meaning: Meaning, probability: Any) -> dict[str, float | None]:
    """The quality of written predictions; None where the test file holds no outcome or only one kind."""
    from ml.evaluation import metrics
    from ml.table.reading import has_columns, outcome, read_columns

    names = ("log_loss", "normalised_entropy", "auc", "calibration_ratio", "calibration_error")
    if not has_columns(test, meaning.outcomes):
        return dict.fromkeys(names)
    y, weight = outcome(read_columns(test, meaning.outcomes), meaning)
    if weight.sum() <= 0:
        return dict.fromkeys(names)
    values = (
        metrics.log_loss(probability, y, weight),
        metrics.normalised_entropy(probability, y, weight),
        metrics.auc(probability, y, weight),
        metrics.calibration_ratio(probability, y, weight),
        metrics.expected_calibration_error(probability, y, weight),
    )
    return {
        name: round(value, 6) if np.isfinite(value) else None
        for name, value in zip(names, values, strict=True)
    }


def _peak_memory_mb() -> float:
    """Of this process; getrusage would also count what its parent held before it started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise OSError("/proc/self/status names no peak memory")


def _write(path: Path, probability: Any) -> None:
    import pandas as pd

    try:
        pd.DataFrame({PROBABILITY: probability}).to_parquet(path, index=False)
    except OSError as error:
        raise TableError(f"{path} cannot be written: {error.strerror or error}") from error


def meaning_of(options: argparse.Namespace) -> Meaning:
    """Which columns a command was told; those that it has no word for mean nothing."""
    if (options.clicks is None) != (options.impressions is None):
        raise TableError("--clicks and --impressions belong together")
    if options.label is None and options.clicks is None:
        raise TableError("give --label, or --clicks with --impressions")
    return Meaning(
        label=options.label,
        clicks=options.clicks,
        impressions=options.impressions,
        time=options.time,
        user=getattr(options, "user", None),
        item=getattr(options, "item", None),
        group=options.group,
        text=tuple(options.text),
        categorical=tuple(getattr(options, "categorical", ())),
        numeric=tuple(getattr(options, "numeric", ())),
        progressive=getattr(options, "progressive", False),
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m ml", description="AdPlatform's models on their own.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    fit = commands.add_parser(
        "fit-predict",
        help="fit our click model on one table, write a probability per row of another",
        description="Fit on --train, write one probability per row of --test, in order, and print the quality.",
    )
    fit.add_argument("--train", type=Path, required=True, help="parquet or csv with outcomes")
    fit.add_argument("--test", type=Path, required=True, help="parquet or csv; its outcomes are read last")
    fit.add_argument("--predictions", type=Path, required=True, help="parquet to write, column 'probability'")
    fit.add_argument("--label", help="column of 0 and 1")
    fit.add_argument("--clicks", help="column of click counts, instead of a label")
    fit.add_argument("--impressions", help="column of impression counts")
    fit.add_argument("--time", help="column of times: history counts only what came before")
    fit.add_argument("--user", help="column: whose history")
    fit.add_argument("--item", help="column: which ad, film, product")
    fit.add_argument("--group", help="column of the randomised test or slate whose rows compete")
    for name, what in (
        ("text", "read by the transformer"),
        ("categorical", "'a|b' is a set"),
        ("numeric", ""),
    ):
        fit.add_argument(
            f"--{name}", nargs="+", default=[], metavar="COL", help=f"columns; {what}".rstrip("; ")
        )
    fit.add_argument("--progressive", action="store_true", help="test labels become known to later rows")
    fit.add_argument("--encoder", help="folder or Hugging Face id of another sentence transformer")
    fit.add_argument("--seed", type=int, default=0)
    fit.add_argument("--json", action="store_true", help="print one JSON object")
    adapting.add_command(commands)
    compressing.add_command(commands)
    pretraining.add_command(commands)
    return parser


def _as_text(result: dict[str, Any]) -> str:
    lines = [
        f"{name.replace('_', ' '):<20} {value}" for name, value in result.items() if name != "importance"
    ]
    if "importance" in result:
        lines.append("most important       " + ", ".join(list(result["importance"])[:8]))
    return "\n".join(lines)


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "fit-predict": fit_predict,
    "adapt": adapting.adapt,
    "compress": compressing.compress,
    "pretrain": pretraining.pretrain,
}
