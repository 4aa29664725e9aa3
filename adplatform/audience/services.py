"""How visitors, their consent and what they did come into the platform: in bulk, and twice is once."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from adplatform.audience import queries
from adplatform.audience.models import Behaviour, Consent, Visitor

BATCH = 2_000
ACT_COLUMNS = "visitor_id, kind, item, text, value_micros, occurred_at"
EMPTY_ACTS = f"CREATE TEMP TABLE acts ON COMMIT DROP AS SELECT {ACT_COLUMNS} FROM audience_behaviour LIMIT 0"  # noqa: S608
NEW_ACTS = (
    f"INSERT INTO audience_behaviour ({ACT_COLUMNS}) SELECT {ACT_COLUMNS} FROM acts ON CONFLICT DO NOTHING"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A visitor and the moments between which he was seen."""

    pseudonym: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Act:
    """One thing a visitor did; `item` is the page's or product's key at its source."""

    visitor: str
    kind: Behaviour.Kind
    item: str
    text: str
    occurred_at: datetime
    value_micros: int = 0


def record_visitors(seen: Iterable[Seen], *, source: str) -> int:
    """Add visitors that are not known yet; returns how many were new."""
    before = Visitor.objects.count()
    rows = [
        Visitor(pseudonym=one.pseudonym, first_seen_at=one.first_at, last_seen_at=one.last_at, source=source)
        for one in seen
    ]
    Visitor.objects.bulk_create(rows, batch_size=BATCH, ignore_conflicts=True)
    return Visitor.objects.count() - before


@transaction.atomic
def record_consent(
    pseudonyms: Sequence[str], *, is_granted: bool, source: str, at: datetime, evidence: str = ""
) -> int:
    """Write what visitors said where it differs from their newest word; returns how many rows that took."""
    known = Visitor.objects.filter(pseudonym__in=pseudonyms).values_list("pk", flat=True)
    said = dict(
        Consent.objects.filter(visitor_id__in=known)
        .order_by("visitor_id", "-at", "-pk")
        .distinct("visitor_id")
        .values_list("visitor_id", "is_granted")
    )
    rows = [
        Consent(visitor_id=visitor, is_granted=is_granted, source=source, evidence=evidence, at=at)
        for visitor in known
        if said.get(visitor) is not is_granted
    ]
    Consent.objects.bulk_create(rows, batch_size=BATCH)
    return len(rows)


@transaction.atomic
def record_behaviours(acts: Sequence[Act], *, at: datetime) -> int:
    """Store what consenting visitors did, each once; what others did is dropped. Returns how many were new."""
    names = {act.visitor for act in acts}
    visitors = dict(queries.consented(at).filter(pseudonym__in=names).values_list("pseudonym", "pk"))
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    for act in acts:
        if act.visitor in visitors:
            moment = act.occurred_at.isoformat()
            rows.writerow((visitors[act.visitor], act.kind, act.item, act.text, act.value_micros, moment))
    buffer.seek(0)
    with connection.cursor() as cursor:
        cursor.execute(EMPTY_ACTS)
        cursor.copy_expert(f"COPY acts ({ACT_COLUMNS}) FROM STDIN (FORMAT csv)", buffer)
        cursor.execute(NEW_ACTS)
        added = int(cursor.rowcount)
        cursor.execute("DROP TABLE acts")
    return added
