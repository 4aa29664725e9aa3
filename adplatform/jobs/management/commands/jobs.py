"""`manage.py jobs list | run NAME [--dry-run] | seed`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adplatform.core import clock
from adplatform.jobs import queries, services
from adplatform.jobs.models import JobRun
from adplatform.jobs.registry import UnknownJobError


class Command(BaseCommand):
    help = "Lists the scheduled jobs, runs one here and now, or seeds the default schedules."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="every job, its schedule and its last run").add_argument(
            "--json", action="store_true"
        )
        run = actions.add_parser("run", help="run a job in this process")
        run.add_argument("name")
        run.add_argument("--dry-run", action="store_true", help="say what would change and change nothing")
        run.add_argument("--json", action="store_true", help="one JSON object on stdout")
        actions.add_parser("seed", help="create the default schedules that are missing; edited ones stay")

    def handle(self, *_: Any, **options: Any) -> None:
        {"list": self._list, "run": self._run, "seed": self._seed}[options["action"]](options)

    def _list(self, options: dict[str, Any]) -> None:
        jobs = queries.overview()
        if options["json"]:
            self.stdout.write(json.dumps({"jobs": [job.as_dict() for job in jobs]}))
            return
        for job in jobs:
            last = job.last_run
            words = (
                f"{last.get_status_display().lower()} {last.started_at:%Y-%m-%d %H:%M} · {last.summary}"
                if last
                else "never ran"
            )
            self.stdout.write(f"{job.name:<16} {job.schedule:<28} {job.queue:<8} {words}")

    def _run(self, options: dict[str, Any]) -> None:
        at = clock.now()
        try:
            row = services.run(
                options["name"], slot=at, at=at, trigger=JobRun.Trigger.COMMAND, dry_run=options["dry_run"]
            )
        except UnknownJobError as error:
            raise CommandError(str(error), returncode=2) from None
        if options["json"]:
            self.stdout.write(json.dumps(queries.as_dict(row)))
        elif row.status == JobRun.Status.SUCCEEDED:
            self.stdout.write(f"{row.job_id}{' (dry run)' if row.is_dry_run else ''}: {row.summary}")
        if row.status != JobRun.Status.SUCCEEDED:
            raise CommandError(
                f"{row.job_id} {row.get_status_display().lower()}: {row.summary}", returncode=1
            )

    def _seed(self, _: dict[str, Any]) -> None:
        created = services.seed_schedules()
        self.stdout.write(f"{created} schedules created; what was there stays as it is.")
