"""`manage.py train [--only matcher|blender] [--json]`: one training run through the gate."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.core import clock
from adplatform.jobs.locks import job_lock
from adplatform.learning import services
from adplatform.learning.services import TrainingResult

COLUMNS = (
    ("ne", "NE"),
    ("log_loss", "log loss"),
    ("auc", "AUC"),
    ("calibration", "calibration"),
    ("ece", "ECE"),
)


class Command(BaseCommand):
    help = "Trains on every impression until now, compares with what serves on the newest day, promotes or refuses."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only", choices=["matcher", "blender"], help="train that one beside the serving other"
        )
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        with job_lock("train") as is_ours:
            if not is_ours:
                raise CommandError("A training run is going on; see the console for its progress.")
            result = services.train(at=clock.now(), only=options["only"], seed=options["seed"])
        if options["json"]:
            self.stdout.write(json.dumps(as_dict(result)))
        elif result.versions:
            self.stdout.write("\n".join(table(result)))
        if not result.versions:
            raise CommandError(result.verdict)


def as_dict(result: TrainingResult) -> dict[str, Any]:
    """The run as JSON."""
    return {
        "run": result.run.pk,
        "rows": result.run.rows,
        "promoted": result.is_promoted,
        "verdict": result.verdict,
        "versions": [version.name for version in result.versions],
        "metrics": dict(result.metrics),
    }


def table(result: TrainingResult) -> list[str]:
    """Challenger, champion and simpler models on the newest day."""
    measured = result.metrics
    rows = {
        f"challenger: {measured['challenger']['name']}": measured["challenger"],
        f"champion: {measured['champion']['name']}": measured["champion"],
        "smoothed click rates": measured["prior"],
        **measured["compared"],
    }
    width = max(len(name) for name in rows)
    lines = [f"{'':{width}}" + "".join(f"{title:>13}" for _, title in COLUMNS)]
    for name, row in rows.items():
        lines.append(f"{name:{width}}" + "".join(f"{_number(row.get(key)):>13}" for key, _ in COLUMNS))
    return [f"{result.run.rows:,} impressions", *lines, result.verdict]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
