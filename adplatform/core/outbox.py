"""How a lower layer tells a higher one: a row written in the transaction of the change, and a wake-up call.

The `publisher` process listens on `CHANNEL` and polls, acts once per row and stamps it done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from .models import Outbox

CHANNEL = "outbox"
PARKED_AFTER = 10  # attempts, after which a row waits for a person


def write(topic: str, payload: Mapping[str, Any] | None = None) -> Outbox:
    """Note a change in the caller's transaction; listeners hear of it when that commits, never when it fails."""
    with transaction.atomic():
        row = Outbox.objects.create(topic=topic, payload=dict(payload or {}))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, topic])
    return row


def waiting(*, topics: Collection[str], limit: int = 500) -> list[Outbox]:
    """Rows of these topics that nobody has acted on, oldest first."""
    rows = Outbox.objects.filter(done_at__isnull=True, topic__in=topics, attempts__lt=PARKED_AFTER)
    return list(rows.order_by("id")[:limit])


def done(rows: Collection[Outbox], *, at: datetime) -> None:
    Outbox.objects.filter(pk__in=[row.pk for row in rows]).update(done_at=at)


def failed(rows: Collection[Outbox]) -> None:
    """Another try was made in vain; a row that keeps failing is left alone after `PARKED_AFTER` tries."""
    for row in rows:
        row.attempts += 1
    Outbox.objects.bulk_update(rows, ["attempts"])
