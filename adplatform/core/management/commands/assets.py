"""`manage.py assets`: copy browser assets from installed packages into var/assets."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.core import assets


class Command(BaseCommand):
    help = "Copy fonts, plotly.js with its style sheet and htmx from installed packages into var/assets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            paths = assets.build(settings.VAR / "assets")
        except assets.AssetError as error:
            raise CommandError(str(error)) from error
        sizes = {path.name: path.stat().st_size for path in paths}
        if options["json"]:
            self.stdout.write(json.dumps(sizes))
            return
        for name, size in sizes.items():
            self.stdout.write(f"{name:<16}{size:>10,} bytes")
