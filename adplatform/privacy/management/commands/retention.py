"""`manage.py retention`: clear personal data that is older than it may be, or say what is."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adplatform.core import clock
from adplatform.privacy import retention


class Command(BaseCommand):
    help = "Empties or deletes personal data by age and forgets again who was erased. --check exits 1 when something is overdue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check", action="store_true", help="change nothing; exit 1 where something is overdue"
        )
        what.add_argument(
            "--dry-run", action="store_true", help="say what would be cleared and change nothing"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        at = clock.now()
        if options["check"]:
            found = retention.overdue(at=at)
        else:
            found = retention.enforce(at=at, dry_run=options["dry_run"])
        if options["json"]:
            body = {
                "at": at.isoformat(),
                "rows": sum(one.rows for one in found),
                "rules": [asdict(one) for one in found],
            }
            self.stdout.write(json.dumps(body))
        else:
            for one in found:
                self.stdout.write(f"{one.rows:>10,}  {one.words}")
            if not found:
                self.stdout.write("Nothing is older than it may be.")
        if options["check"] and found:
            raise CommandError(
                f"{found[0].rows:,} {found[0].words} are overdue: run `manage.py retention`.", returncode=1
            )
