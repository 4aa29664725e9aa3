"""`manage.py restore FOLDER`: make the configured servers a platform as a backup holds it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adplatform.backups.archive import BackupError
from adplatform.backups.services import restore
from adplatform.core import clock

SHOWN = 20


class Command(BaseCommand):
    help = "Restores a backup into DATABASE_URL, REDIS_URL and EVENTS_URL, forgets again who was erased since, and verifies. Exits 1 where something is wrong."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="as `backup` made it")
        parser.add_argument(
            "--replace", action="store_true", help="drop the database where it holds something"
        )
        parser.add_argument("--jobs", type=int, default=1, help="tables that are loaded at once (default 1)")
        parser.add_argument(
            "--json", action="store_true", help="what was verified, as one JSON object on stdout"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        def say(words: str, seconds: float) -> None:
            self.stderr.write(f"{seconds:8.1f} s  {words}")

        try:
            found = restore(
                options["folder"].absolute(),
                at=clock.now(),
                say=say,
                replace=options["replace"],
                jobs=options["jobs"],
            )
        except BackupError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(found)))
        if found.violations:
            first = "\n".join(found.violations[:SHOWN])
            raise CommandError(f"{len(found.violations):,} violations, first\n{first}", returncode=1)
        if not options["json"]:
            self.stdout.write(
                f"Sound: {found.postings:,} postings, head {found.head}. Start it with `manage.py up`."
            )
