"""`manage.py import_dataset NAME PATH [--no-report] [--json]`: real data in through the real services."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.demo.datasets import movietweetings, nemig, online_retail, open_bandit, upworthy
from adplatform.demo.datasets.rows import DatasetError, ImportReport


@dataclass(frozen=True)
class Dataset:
    """`load` takes a file over, `evaluate` trains on what was taken over and reports (lines, figures)."""

    load: Callable[[Path], ImportReport]
    evaluate: Callable[[], tuple[list[str], dict[str, Any]]]
    about: str


DATASETS = {
    "movietweetings": Dataset(
        movietweetings.load, movietweetings.evaluate, "film ratings: people as visitors, films as creatives"
    ),
    "nemig": Dataset(nemig.load, nemig.evaluate, "news slates of a study: histories, candidates, picks"),
    "openbandit": Dataset(
        open_bandit.load, open_bandit.evaluate, "logged decisions of two policies: off-policy estimates"
    ),
    "upworthy": Dataset(upworthy.load, upworthy.evaluate, "headline tests: campaigns, creatives, statistics"),
    "online_retail": Dataset(
        online_retail.load, online_retail.evaluate, "purchases: customers as visitors, products as creatives"
    ),
}


class Command(BaseCommand):
    help = "Validates a data set, loads it, and reports what our models make of it. Known: " + "; ".join(
        f"{name} ({one.about})" for name, one in DATASETS.items()
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", metavar="NAME", choices=sorted(DATASETS), help=", ".join(sorted(DATASETS))
        )
        parser.add_argument("path", metavar="PATH", type=Path, help="the file, or the folder that holds it")
        parser.add_argument("--no-report", action="store_true", help="load only")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        dataset = DATASETS[options["name"]]
        if not options["path"].exists():
            raise CommandError(f"{options['path']}: no such file or folder.", returncode=2)
        started = time.monotonic()
        try:
            report = dataset.load(options["path"])
        except DatasetError as error:
            raise CommandError(str(error)) from error
        if not options["json"]:
            self.stdout.write("\n".join(report.lines()))
        lines, figures = ([], {}) if options["no_report"] else dataset.evaluate()
        seconds = time.monotonic() - started
        if options["json"]:
            found = {
                "name": options["name"],
                **report.as_dict(),
                "report": figures,
                "seconds": round(seconds, 1),
            }
            self.stdout.write(json.dumps(found))
        else:
            self.stdout.write("\n".join([*lines, f"{seconds:.0f} s"]))
