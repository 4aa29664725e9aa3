"""`manage.py data_quality [--json]`: examine what training would read; exit 1 where it would be refused."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.core import clock
from adplatform.learning import dataset, quality
from ml.quality.report import Finding, Severity

MARKS = {Severity.OK: "ok", Severity.WARN: "WARN", Severity.ALARM: "ALARM", Severity.REFUSE: "REFUSE"}


class Command(BaseCommand):
    help = (
        "Examines the training data: repeats, bots, impossible times, missing values, outliers, leaks, drift."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        at = clock.now()
        report = quality.examine(dataset.build(until=at), at=at)
        quality.keep(report, at=at)
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict()))
        else:
            self.stdout.write("\n".join([*map(line, report.findings), quality.words(report)]))
        if report.refusals:
            raise CommandError(f"Refused: {len(report.refusals)} reasons.")


def line(one: Finding) -> str:
    """A finding as one line of the table."""
    return f"{MARKS[one.severity]:<7}{one.check:<17}{one.subject:<30}{one.figure:>10.4g}  {one.words}"
