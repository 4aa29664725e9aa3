"""Anchors: the end of each day's hash chain, in files that the database's roles cannot reach.

Whoever rewrites the books together with all hashes still meets these. A file is written once (mode 0444) and names
the file before by its hash, so that none can be exchanged or taken out of the middle. Copy the folder elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from django.conf import settings
from django.db import connection

from adplatform.billing.models import Posting


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the chain stood at the end of a day (UTC, by the time of writing)."""

    day: date
    postings: int
    last_id: int
    head: str
    previous_sha256: str  # of the file before, or ""

    def text(self) -> str:
        words = {
            "day": self.day.isoformat(),
            "postings": self.postings,
            "last_id": self.last_id,
            "head": self.head,
            "previous_sha256": self.previous_sha256,
        }
        return json.dumps(words, indent=1) + "\n"


class AnchorError(Exception):
    """An anchor that cannot be written or read, in a sentence a person can act on."""


def folder(database: str = "") -> Path:
    """One folder per database (ours, where none is named): ANCHORS_DIR, or var/anchors."""
    return Path(settings.ANCHORS_DIR) / (database or str(connection.settings_dict["NAME"]))


def read() -> list[Anchor]:
    """All anchors in order of their days; a file that is no anchor is an AnchorError."""
    return [_parsed(path) for path in _files()]


def write(*, at: datetime, dry_run: bool = False) -> list[Anchor]:
    """Anchor every day that has ended, has postings and no file. Again writes nothing."""
    files = _files()
    before = _parsed(files[-1]) if files else None
    previous = _digest(files[-1]) if files else ""
    written = []
    for day, last_id, head, postings in _days(before.last_id if before else 0, at):
        count = postings + (before.postings if before else 0)
        before = Anchor(day, count, last_id, head, previous)
        written.append(before)
        if not dry_run:
            _store(before)
        previous = hashlib.sha256(before.text().encode()).hexdigest()
    return written


def broken_links() -> list[str]:
    """Names of anchor files that do not name the one before."""
    found, previous = [], ""
    for path in _files():
        if _parsed(path).previous_sha256 != previous:
            found.append(path.name)
        previous = _digest(path)
    return found


def _days(after: int, at: datetime) -> list[tuple[date, int, str, int]]:
    """(day, last posting, its hash, number of postings) of ended days behind the last anchor."""
    today = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = Posting.objects.filter(pk__gt=after, posted_at__lt=today).order_by("pk")
    days: list[tuple[date, int, str, int]] = []
    for pk, posted_at, head in rows.values_list("pk", "posted_at", "row_sha256").iterator(chunk_size=5_000):
        day = posted_at.astimezone(UTC).date()
        if days and days[-1][0] >= day:  # a clock that went back stays in the day that was reached
            days[-1] = (days[-1][0], pk, head, days[-1][3] + 1)
        else:
            days.append((day, pk, head, 1))
    return days


def _store(anchor: Anchor) -> None:
    folder().mkdir(parents=True, exist_ok=True)
    path = folder() / f"{anchor.day.isoformat()}.json"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    except FileExistsError:
        return  # another run was first
    with os.fdopen(descriptor, "w") as file:
        file.write(anchor.text())
        file.flush()
        os.fsync(file.fileno())


def _files() -> list[Path]:
    return sorted(folder().glob("????-??-??.json"))


def _parsed(path: Path) -> Anchor:
    try:
        words = json.loads(path.read_text())
        return Anchor(
            date.fromisoformat(words["day"]),
            int(words["postings"]),
            int(words["last_id"]),
            str(words["head"]),
            str(words["previous_sha256"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AnchorError(f"{path} is no anchor: {error}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
