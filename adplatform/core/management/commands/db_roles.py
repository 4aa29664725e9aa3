"""`manage.py db_roles`: create or check the database roles."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from adplatform.core import roles


class Command(BaseCommand):
    help = (
        "Create the database roles owner, app, worker and auditor with their grants, or check them (--check)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit 1 when something differs"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        done = [] if options["check"] else roles.apply()
        wrong = roles.problems()
        if options["json"]:
            self.stdout.write(json.dumps({"ok": not wrong, "done": done, "problems": wrong}))
        elif not wrong:
            self.stdout.write(
                f"Database roles are right ({len(done)} changes made)."
                if done
                else "Database roles are right."
            )
        for problem in wrong if not options["json"] else []:
            self.stderr.write(problem)
        if wrong:
            sys.exit(1)
