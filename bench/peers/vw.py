"""Vowpal Wabbit: hashed logistic regression with all quadratic features, passes and step chosen on validation rows.

Words of the text are features only where nothing else is known, as in headline tests.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from common import Answer, Table, log_loss, main
from vowpalwabbit import pyvw

BITS = 22
PASSES = (1, 2, 4)
STEPS = (0.1, 0.5)


def fit(table: Table, _variant: str, seed: int) -> Answer:
    """The best of PASSES × STEPS, then fitted on all training rows; the order is that of the table."""
    lines = _features(table)
    held = table.validation
    older, newer = np.flatnonzero(~held), np.flatnonzero(held)
    best: tuple[float, int, float] = (float("inf"), 1, STEPS[0])
    for step in STEPS:
        model = _model(step, seed)
        for passes in range(1, max(PASSES) + 1):
            _learn(model, lines, table, older)
            if passes in PASSES:
                loss = log_loss(_predict(model, lines, newer), table.y[newer], table.weight[newer])
                best = min(best, (loss, passes, step), key=lambda found: found[0])
    loss, passes, step = best
    final = _model(step, seed)
    for _ in range(passes):
        _learn(final, lines, table, np.arange(table.trained))
    told = {"passes": passes, "learning_rate": step, "validation_log_loss": round(loss, 5)}
    return Answer(lambda rows: _predict(final, lines, rows), told)


def _model(step: float, seed: int) -> Any:
    words = f"--loss_function logistic --link logistic -b {BITS} -q :: -l {step} --random_seed {seed} --quiet"
    return pyvw.Workspace(words)


def _learn(model: Any, lines: list[str], table: Table, rows: Any) -> None:
    """A row of counts is two examples: its clicks, and the impressions without."""
    for row in rows.tolist():
        rate, weight = float(table.y[row]), float(table.weight[row])
        for label, share in ((1, rate), (-1, 1 - rate)):
            if share > 0:
                model.learn(f"{label} {share * weight} {lines[row]}")


def _predict(model: Any, lines: list[str], rows: Any) -> Any:
    return np.array([model.predict(lines[row]) for row in rows.tolist()])


def _features(table: Table) -> list[str]:
    """A namespace per column: "|a v17 |b v3 v5 |c x:0.2"."""
    fields = table.fields()
    if not fields:
        texts = table.frame[table.options["text"][0]].fillna("").str.lower()
        return ["|t " + " ".join(re.findall(r"[^\W_]+", text)) for text in texts]
    parts: list[list[str]] = []
    for place, field in enumerate(fields):
        space = chr(ord("a") + place)
        if field.kind == "number":
            parts.append([f"|{space} x:{value:.4f}" for value in field.codes])
        elif field.kind == "category":
            parts.append([f"|{space} v{code}" for code in field.codes])
        else:
            parts.append([f"|{space} " + " ".join(f"v{code}" for code in row if code) for row in field.codes])
    return [" ".join(row) for row in zip(*parts, strict=True)]


if __name__ == "__main__":
    main(fit, ("quadratic",))
