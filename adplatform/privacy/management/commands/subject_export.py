"""`manage.py subject_export ID`: everything that is held of a subject, as JSON."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.core.serializers.json import DjangoJSONEncoder

from adplatform.core import clock
from adplatform.privacy.export import export


class Command(BaseCommand):
    help = "Prints all that is held of a visitor (ID as the publisher's site knows him) or of a person with an account (e-mail)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", help="the visitor's id at the publisher, or an account's e-mail address")
        parser.add_argument("--json", action="store_true", help="on one line; otherwise indented")

    def handle(self, *_: Any, **options: Any) -> None:
        found = export(options["id"], at=clock.now())
        indent = None if options["json"] else 2
        self.stdout.write(json.dumps(found, cls=DjangoJSONEncoder, indent=indent))
