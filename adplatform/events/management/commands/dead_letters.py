"""manage.py dead_letters list|replay: events that could not be stored, and sending them again once the cause is gone."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from adplatform.events import dead_letters
from adplatform.events.stream import connect


class Command(BaseCommand):
    help = "Shows events that could not be stored, with their error, or sends them to the stream again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("list", "replay"))
        parser.add_argument(
            "ids", nargs="*", help="of the letters, as list prints them; all where none is given"
        )
        parser.add_argument("--json", action="store_true", help="one object per letter and line")

    def handle(self, *_: Any, action: str, ids: list[str], **options: Any) -> None:
        client = connect(settings.EVENTS_URL, timeout_seconds=5.0)
        if action == "replay":
            self.stdout.write(f"{dead_letters.replay(client, ids)} sent again")
            return
        for letter in dead_letters.waiting(client):
            if ids and letter.entry_id not in ids:
                continue
            told = {
                "id": letter.entry_id,
                "at": letter.at.isoformat(),
                "error": letter.error,
                "record": letter.words,
            }
            self.stdout.write(json.dumps(told) if options["json"] else "\n  ".join(map(str, told.values())))
        if not options["json"]:
            self.stdout.write(f"{dead_letters.count(client)} dead letters")
