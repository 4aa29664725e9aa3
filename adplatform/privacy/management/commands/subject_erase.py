"""`manage.py subject_erase ID`: forget a visitor."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from adplatform.core import clock
from adplatform.privacy.erasure import erase


class Command(BaseCommand):
    help = "Deletes a visitor's profile, consent, reads and counters, and takes the pseudonym out of the facts. May be repeated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", help="the visitor's id at the publisher")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_: Any, **options: Any) -> None:
        done = erase(options["id"], at=clock.now())
        if options["json"]:
            self.stdout.write(
                json.dumps({"subject": done.subject, "erased": done.counts, "total": done.total})
            )
            return
        for what, rows in done.counts.items():
            self.stdout.write(f"{rows:>8,}  {what}")
        self.stdout.write("Erased." if done.counts else "Nothing held.")
