"""`manage.py ledger_export --format beancount`: the books as a file that another program checks."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from adplatform.billing import export


class Command(BaseCommand):
    help = "Prints all postings for another bookkeeping program, with the balances that must come out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=["beancount"], default="beancount")

    def handle(self, *_: Any, **__: Any) -> None:
        for line in export.beancount():
            self.stdout.write(line)
