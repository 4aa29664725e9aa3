"""`manage.py backup FOLDER`: everything that cannot be computed again, while the platform serves."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from adplatform.backups.archive import BackupError
from adplatform.backups.services import backup
from adplatform.core import clock


class Command(BaseCommand):
    help = "Database, events that wait, and models into a new FOLDER, while everything runs. Secrets, anchors and the log of erasures belong elsewhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder that does not exist yet")
        parser.add_argument(
            "--without-models", action="store_true", help="they are kept elsewhere, or trained anew"
        )
        parser.add_argument("--json", action="store_true", help="its manifest on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        def say(words: str, seconds: float) -> None:
            self.stderr.write(f"{seconds:8.1f} s  {words}")

        try:
            manifest = backup(
                options["folder"].absolute(),
                at=clock.now(),
                say=say,
                with_models=not options["without_models"],
            )
        except BackupError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(msgspec.to_builtins(manifest)))
        else:
            self.stdout.write(f"Complete: {options['folder']}")
