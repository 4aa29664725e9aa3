"""`manage.py tune [--trials N] [--minutes M] [--seed N] [--json]`: search for the blender's tree parameters."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.core import clock
from adplatform.jobs.locks import job_lock
from adplatform.learning import search
from adplatform.learning.models import SearchRun
from ml.ctr.train import TrainingError


class Command(BaseCommand):
    help = (
        "Tries tree parameters on all impressions but the newest day's, goes on with an interrupted search, and keeps"
        " for the next training what beats the defaults beyond noise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--trials", type=int, default=search.TRIALS)
        parser.add_argument("--minutes", type=float, default=search.MINUTES)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["trials"] < 1 or options["minutes"] <= 0:
            raise CommandError("--trials and --minutes: more than nothing.", returncode=2)
        budget = search.Budget(options["trials"], options["minutes"] * 60)
        try:
            with job_lock("tune") as is_ours:
                if not is_ours:
                    raise CommandError("A search is going on; see the console for its progress.")
                run = search.tune(
                    at=clock.now(), budget=budget, progress=self._progress, seed=options["seed"]
                )
        except TrainingError as error:
            raise CommandError(f"Nothing to search on: {error}.") from error
        if options["json"]:
            self.stdout.write(json.dumps(as_dict(run)))
        else:
            self.stdout.write("\n".join(table(run)))

    def _progress(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done} of {total} trials")
            sys.stderr.flush()


def as_dict(run: SearchRun) -> dict[str, Any]:
    """The search as JSON."""
    trials = list(run.trials.all())
    return {
        "search": run.pk,
        "rows": run.rows,
        "trials": len(trials),
        "stopped_early": sum(one.state == one.State.PRUNED for one in trials),
        "seconds": round(sum(one.seconds for one in trials), 1),
        "kept": run.is_kept,
        "parameters": run.parameters,
        "figures": run.figures,
        "verdict": run.verdict,
    }


def table(run: SearchRun) -> list[str]:
    """Each trial that was the best so far, and the verdict."""
    lines = [
        f"{run.rows:,} impressions, {run.trials.count()} trials",
        f"{'trial':>6}{'entropy':>10}  parameters",
    ]
    best = float("inf")
    for one in run.trials.filter(state="complete"):
        if one.value < best:
            best = one.value
            words = ", ".join(f"{name} {_short(value)}" for name, value in one.parameters.items())
            lines.append(f"{one.number:>6}{one.value:>10.4f}  {words}")
    return [*lines, run.verdict]


def _short(value: float) -> str:
    return f"{value:.3g}"
