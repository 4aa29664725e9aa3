"""`manage.py engines [--refresh] [--feature] [--json]`: the classical engines, what each adds, and whether they retrieve."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from adplatform.core import clock
from adplatform.learning.models import EngineFit


class Command(BaseCommand):
    help = "Shows the newest fit of the classical engines; --refresh fits and judges them now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--refresh", action="store_true", help="fit and judge on what is known now")
        parser.add_argument(
            "--feature", action="store_true", help="also their worth as the blender's features (a minute)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        from adplatform.learning import engine_feature, engine_trials

        newest = engine_trials.refresh(at=clock.now()) if options["refresh"] else EngineFit.objects.first()
        gains = engine_feature.measure(at=clock.now()) if options["feature"] else []
        if options["json"]:
            figures = newest.figures if newest else {}
            self.stdout.write(json.dumps({"fit": figures, "feature": [asdict(one) for one in gains]}))
            return
        self.stdout.write("\n".join(lines(newest)))
        for one in gains:
            value, low, high = one.saved
            self.stdout.write(
                f"  blender {one.columns:36} NE {one.ne:.4f}  saves {value:+.5f} [{low:+.5f}, {high:+.5f}]"
            )


def lines(fit: EngineFit | None) -> Iterator[str]:
    """A fit as a table."""
    if fit is None:
        yield "No engines have been fitted yet: run `manage.py engines --refresh`, or the job refresh_engines."
        return
    yield f"{fit.name}: {fit.acts:,} acts of {fit.visitors:,} visitors on {fit.items:,} texts."
    rows = fit.sources()
    if rows:
        yield f"  {'source':15}{'weight':>7}{'recall@10':>11}{'NDCG@10':>9}{'95 %':>17}{'adds NDCG':>11}{'95 %':>19}"
    for name, row in rows:
        ndcg, adds = row["ndcg"], row.get("adds")
        more = f"{adds[0]:+11.4f}{f'{adds[1]:+.4f} – {adds[2]:+.4f}':>19}" if adds else ""
        interval = f"{ndcg[1]:.3f} – {ndcg[2]:.3f}"
        yield f"  {name:15}{row.get('weight', 1.0):7g}{row['recall'][0]:11.3f}{ndcg[0]:9.3f}{interval:>17}{more}"
    yield fit.verdict
