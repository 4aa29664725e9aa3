"""`manage.py score [--visitors N] [--json]`: the main job, ads picked for every visitor by Celery workers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.core import clock
from adplatform.jobs.locks import job_lock
from adplatform.jobs.registry import JobError
from adplatform.jobs.workers import running_worker
from adplatform.learning import scoring


class Command(BaseCommand):
    help = "Picks the ten best ads for each consenting visitor: the transformer retrieves, the blender ranks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--visitors", type=int, help="only so many")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["visitors"] is not None and options["visitors"] < 1:
            raise CommandError("--visitors: at least 1.", returncode=2)
        try:
            with job_lock("score") as is_ours, running_worker(("gpu",)):
                if not is_ours:
                    raise CommandError("The job score is running; see the console for its progress.")
                done = scoring.score(at=clock.now(), progress=self._progress, limit=options["visitors"])
        except JobError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(done), "pairs_per_second": round(done.pairs_per_second)}))
        else:
            self.stdout.write(done.words())

    def _progress(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done} of {total} shards")
            sys.stderr.flush()
