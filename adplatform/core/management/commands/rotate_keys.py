"""`manage.py rotate_keys`: seal every encrypted value with the first of ENCRYPTION_KEYS, while the platform runs."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adplatform.core import encrypted
from adplatform.core.sealing import UnreadableError


class Command(BaseCommand):
    help = "Seals values of older keys anew with the first of ENCRYPTION_KEYS. May be interrupted and repeated. --check exits 1 where some are left."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit 1 where older keys are in use"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        work = encrypted.count_old if options["check"] else encrypted.rotate
        try:
            counts = {
                f"{field.model._meta.db_table}.{field.column}": work(field) for field in encrypted.fields()
            }
        except UnreadableError as error:
            raise CommandError(f"{error}; add its key to ENCRYPTION_KEYS.", returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps({"values": sum(counts.values()), "columns": counts}))
        else:
            for column, values in counts.items():
                self.stdout.write(f"{values:>8,}  {column}")
        if options["check"] and any(counts.values()):
            raise CommandError(
                f"{sum(counts.values()):,} values are sealed with older keys: run `manage.py rotate_keys`.",
                returncode=1,
            )
