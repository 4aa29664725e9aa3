"""`manage.py ledger_verify`: are the books balanced, unbroken, and equal to their replay?"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adplatform.billing.verification import verify


class Command(BaseCommand):
    help = "Checks every posting, the hash chain, every balance and the database's guards. Exits 1 and names what is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        found = verify()
        if options["json"]:
            self.stdout.write(json.dumps(found.as_dict()))
        else:
            for violation in found.violations:
                self.stdout.write(f"{violation.rule}: {violation.subject}: {violation.words}")
        if found.violations:
            first = found.violations[0]
            raise CommandError(
                f"{len(found.violations)} violations, first {first.rule}: {first.subject}: {first.words}",
                returncode=1,
            )
        if not options["json"]:
            self.stdout.write(
                f"{found.postings:,} postings, {found.entries:,} entries, {found.accounts:,} accounts, {found.anchors:,} anchors: sound. Head {found.head}"
            )
