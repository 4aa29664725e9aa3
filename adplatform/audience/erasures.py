"""Who asked to be forgotten, as those who store facts ask it: a late event of such a visitor is stored without him.

Only what was served until the erasure is meant: who comes back and agrees anew begins anew. Readers hold a shared lock
until their transaction ends and `note` waits for them, so that no batch that has not heard of an erasure commits after it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import connection, transaction

from adplatform.audience.models import Erasure

_LOCK = 7236455  # an advisory lock: facts are being stored (shared), somebody is being forgotten (exclusive)


def subject_of(pseudonym: str) -> str:
    """64 hex digits that stand for a pseudonym in the log of erasures."""
    return hashlib.sha256(b"erased:" + pseudonym.encode()).hexdigest()


@transaction.atomic
def note(subject: str, *, at: datetime) -> None:
    """Write it down once every batch that is being stored has ended; saying it again moves the moment on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(
            "INSERT INTO audience_erasure (subject, at) VALUES (%s, %s)"
            " ON CONFLICT (subject) DO UPDATE SET at = greatest(audience_erasure.at, EXCLUDED.at)",
            [subject, at],
        )


def newest() -> datetime | None:
    """When somebody was last forgotten; call it inside the transaction that stores facts."""
    with connection.cursor() as cursor:
        # Two statements: the second must see what was committed while the first waited.
        cursor.execute(
            "SELECT pg_advisory_xact_lock_shared(%s); SELECT max(at) FROM audience_erasure", [_LOCK]
        )
        found: datetime | None = cursor.fetchone()[0]
    return found


def since(at: datetime) -> dict[str, datetime]:
    """Subjects who were forgotten at a moment or later, and when."""
    return dict(Erasure.objects.filter(at__gte=at).values_list("subject", "at"))
