"""`manage.py demo_info [--json]`: addresses, logins, slots and keys of the demo market."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.accounts.models import Organisation
from adplatform.demo.info import info


class Command(BaseCommand):
    help = "Addresses, logins, slots and API keys of the demo market."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not Organisation.objects.filter(is_synthetic=True).exists():
            raise CommandError("There is no demo market in this database; `make demo` builds one.")
        found = info().as_dict()
        if options["json"]:
            self.stdout.write(json.dumps(found))
            return
        for name, value in found.items():
            self.stdout.write(f"{name}: {value if isinstance(value, str) else json.dumps(value, indent=2)}")
