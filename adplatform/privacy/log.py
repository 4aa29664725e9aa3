"""The log of erasures outside the database, so that a backup which is restored does not bring anybody back.

One line per erasure, only ever added: the hash of the pseudonym and the moment. It names nobody.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection

from adplatform.audience import erasures
from adplatform.audience.models import Erasure


def path(database: str = "") -> Path:
    """Named after the database (ours, where none is named); best where the database's backups are not."""
    return Path(settings.ERASURES_DIR) / f"{database or connection.settings_dict['NAME']}.log"


def append(subject: str, at: datetime) -> None:
    """Durable when it returns."""
    path().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{subject} {at.isoformat()}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def adopt(database: str) -> None:
    """Go on with the log of a database that was restored under another name."""
    theirs = path(database)
    known = set(path().read_text().splitlines()) if path().exists() else set()
    for line in theirs.read_text().split("\n")[:-1] if theirs.exists() else ():
        if line not in known:
            subject, _, moment = line.partition(" ")
            append(subject, datetime.fromisoformat(moment))


def read() -> dict[str, datetime]:
    """The newest moment of each subject. A last line that was not written to its end names nobody and is left out."""
    found: dict[str, datetime] = {}
    text = path().read_text() if path().exists() else ""
    for line in text.split("\n")[:-1]:
        subject, _, moment = line.partition(" ")
        at = datetime.fromisoformat(moment)
        found[subject] = max(at, found.get(subject, at))
    return found


def unknown_to_database() -> dict[str, datetime]:
    """Erasures that the file knows and the database does not: it was restored from an older backup."""
    stored = dict(Erasure.objects.values_list("subject", "at"))
    return {subject: at for subject, at in read().items() if subject not in stored or stored[subject] < at}


def merge() -> int:
    """Bring the database up to the file; returns how many erasures it had not known."""
    missing = unknown_to_database()
    for subject, at in missing.items():
        erasures.note(subject, at=at)
    return len(missing)
