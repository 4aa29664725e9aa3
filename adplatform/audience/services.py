"""How visitors, their consent and what they did come into the platform: in bulk, and twice is once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from adplatform.audience import fusion, queries
from adplatform.audience.fusion import Told
from adplatform.audience.models import Behaviour, Consent, Visitor

BATCH = 2_000
ACT_COLUMNS = "visitor_id, kind, item, text, value_micros, occurred_at, source, provenance"
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
    source: str = fusion.IMPORT


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
    """Store what consenting visitors did, each once; what others did is dropped. Returns how many were new.

    What another source told of already is no new act: audience.fusion says who is believed.
    """
    names = {act.visitor for act in acts}
    visitors = dict(queries.consented(at).filter(pseudonym__in=names).values_list("pseudonym", "pk"))
    return store(
        [
            Told(
                visitor=visitors[act.visitor],
                kind=str(act.kind),
                item=act.item,
                text=act.text,
                value_micros=act.value_micros,
                occurred_at=act.occurred_at,
                source=act.source,
            )
            for act in acts
            if act.visitor in visitors
        ]
    )


@transaction.atomic
def store(told: Sequence[Told]) -> int:
    """Store acts whose visitors (by primary key) were seen to consent; returns how many rows were new."""
    if not told:
        return 0
    known = _known(told)
    acts = fusion.fuse(told, known=[_as_act(row) for row in known.values()])
    changed = []
    for act in acts:
        if act.row is None:
            continue
        row = known[act.row]
        fields = (act.text, act.value_micros, act.source, act.provenance)
        if (row.text, row.value_micros, row.source, row.provenance) != fields:
            row.text, row.value_micros, row.source, row.provenance = fields
            changed.append(row)
    Behaviour.objects.bulk_update(changed, ["text", "value_micros", "source", "provenance"], batch_size=BATCH)
    return _insert([act for act in acts if act.row is None])


def _known(told: Sequence[Told]) -> dict[int, Behaviour]:
    """Stored acts that these may be, told by other sources; one that its own source repeats is met at the insert."""
    moments = [one.occurred_at for one in told]
    near = (min(moments) - fusion.WINDOW, max(moments) + fusion.WINDOW)
    rows = Behaviour.objects.filter(visitor__in={one.visitor for one in told}, occurred_at__range=near)
    sources = {one.source for one in told}
    if len(sources) == 1:
        rows = rows.exclude(source__in=sources, provenance={})
    return {row.pk: row for row in rows.order_by("pk").select_for_update()}


def _as_act(row: Behaviour) -> fusion.Fused:
    """A stored act as it was told, the first teller first. Of sources that were not believed only the moment is kept."""
    moments = row.provenance.get("told") or {row.source: row.occurred_at.isoformat()}
    told = {
        source: Told(
            visitor=row.visitor_id,
            kind=row.kind,
            item=row.item,
            text=row.text if row.provenance.get("text", source) == source else "",
            value_micros=row.value_micros if row.provenance.get("value_micros", source) == source else 0,
            occurred_at=datetime.fromisoformat(moment),
            source=source,
        )
        for source, moment in sorted(moments.items(), key=lambda pair: pair[1] != row.occurred_at.isoformat())
    }
    return fusion.Fused(told, row=row.pk)


def _insert(acts: Sequence[fusion.Fused]) -> int:
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    for act in acts:
        visitor, kind, item = next(iter(act.told.values())).key
        moment, provenance = act.occurred_at.isoformat(), json.dumps(act.provenance)
        rows.writerow((visitor, kind, item, act.text, act.value_micros, moment, act.source, provenance))
    buffer.seek(0)
    with connection.cursor() as cursor:
        cursor.execute(EMPTY_ACTS)
        cursor.copy_expert(f"COPY acts ({ACT_COLUMNS}) FROM STDIN (FORMAT csv)", buffer)
        cursor.execute(NEW_ACTS)
        added = int(cursor.rowcount)
        cursor.execute("DROP TABLE acts")
    return added
