"""`manage.py reconcile`: is what was billed what was seen?"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adplatform.billing.reconciliation import Reconciled, reconcile
from adplatform.core.money import format_micros


class Command(BaseCommand):
    help = "Billable events = hourly statistics = settled + not yet settled; ledger = settlements. Exits 1 and names what is not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        found = reconcile()
        if options["json"]:
            self.stdout.write(json.dumps(found.as_dict()))
        else:
            self._print(found)
        if found.violations:
            first = found.violations[0]
            raise CommandError(
                f"{len(found.violations)} violations, first {first.rule}: {first.subject}: {first.words}",
                returncode=1,
            )

    def _print(self, found: Reconciled) -> None:
        for currency, amounts in found.totals.items():
            words = ", ".join(
                f"{name.replace('_', ' ')} {format_micros(micros, currency, digits=6)}"
                for name, micros in amounts.items()
            )
            self.stdout.write(f"{currency}: {words}")
        for violation in found.violations:
            self.stdout.write(f"{violation.rule}: {violation.subject}: {violation.words}")
        if not found.violations:
            self.stdout.write("Everything matches, to the micro.")
