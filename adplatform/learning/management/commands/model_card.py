"""`manage.py model_card NAME [--json]`: what a model learned from, how good it is, its limits, what it cost."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.learning import cards
from adplatform.learning.models import ModelVersion


class Command(BaseCommand):
    help = "Prints the card of a model version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="of a version, such as blender-20260615-020000")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        version = ModelVersion.objects.filter(name=options["name"]).first()
        if version is None:
            known = ", ".join(ModelVersion.objects.values_list("name", flat=True)[:5]) or "none yet"
            raise CommandError(
                f"There is no model called {options['name']!r}. The newest: {known}.", returncode=2
            )
        if not version.card:
            raise CommandError(f"{version.name} was registered without a card.")
        card = {**version.card, "stage": version.stage, "live": version.live}
        self.stdout.write(json.dumps(card) if options["json"] else "\n".join(cards.lines(card)))
