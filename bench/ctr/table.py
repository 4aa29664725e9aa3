"""The printed table: a row per contender, mean and spread over its seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bench.ctr.contenders import Run
    from bench.ctr.judging import Judge

QUALITY = (
    ("NE", "ne", ".4f"),
    ("log loss", "log_loss", ".5f"),
    ("AUC", "auc", ".4f"),
    ("calibration", "calibration", ".3f"),
    ("ECE", "ece", ".4f"),
    ("pairs", "pairs", ".3f"),
    ("strong pairs", "strong", ".3f"),
)
COSTS = (
    ("train s", "train_seconds", ".1f"),
    ("text s", "encode_seconds", ".1f"),
    ("µs/row", "predict_us_per_row", ".1f"),
    ("MB", "peak_memory_mb", ".0f"),
)


@dataclass(frozen=True)
class Row:
    """A contender's runs, one per seed; without any, the note says why."""

    title: str
    runs: list[Run]
    note: str = ""

    def mean(self, figure: str, judge: Judge) -> float:
        """Of a figure of quality over the seeds."""
        return float(np.mean([judge.figures(run.probability)[figure] for run in self.runs]))

    def cost(self, name: str) -> float | None:
        """Mean over the seeds; None where nothing was measured."""
        found = [run.costs[name] for run in self.runs if run.costs.get(name) is not None]
        return float(np.mean(found)) if found else None


def table(rows: list[Row], judge: Judge) -> str:
    """Markdown with aligned columns."""
    figures = [[judge.figures(run.probability) for run in row.runs] for row in rows]
    known = {name for found in figures for run in found for name in run}
    quality = [column for column in QUALITY if column[1] in known]
    lines = [["", *(title for title, _, _ in quality), *(title for title, _, _ in COSTS)]]
    for row, found in zip(rows, figures, strict=True):
        if not found:
            lines.append([row.title, row.note, *[""] * (len(lines[0]) - 2)])
            continue
        cells = [_spread([run[name] for run in found], how) for _, name, how in quality]
        costs = [_cell(row.cost(name), how) for _, name, how in COSTS]
        lines.append([row.title, *cells, *costs])
    return _aligned(lines)


def cost_line(mine: Row, deep: Row, kind: str) -> str:
    """Processor seconds of our training against those of a deep peer; text vectors apart."""
    ours, theirs = mine.cost("train_seconds"), deep.cost("train_seconds")
    if not ours or not theirs:
        return ""
    verdict = "within" if ours <= theirs / 5 else "MISSES"
    return f"training {ours:.1f} CPU s against {theirs:.1f} of the {kind} ({deep.title}): {ours / theirs:.2f}, {verdict} a fifth"


def _spread(values: list[float], how: str) -> str:
    mean = format(float(np.mean(values)), how)
    return mean if len(values) < 2 else f"{mean} ± {format(float(np.std(values, ddof=1)), how)}"


def _cell(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


def _aligned(lines: list[list[Any]]) -> str:
    """Columns of equal width; a long note in the first figure's place widens nothing."""
    widths = [
        max(len(line[place]) for line in lines if place != 1 or line[-1] or line[2])
        for place in range(len(lines[0]))
    ]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([drawn[0], rule, *drawn[1:]])
