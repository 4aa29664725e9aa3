"""What decisions say about the people who read the pages: seen again, what they agreed to, what they read.

Only records with a visitor come here, that is with consent; without it nothing personal is on the stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adplatform.audience import services as audience
from adplatform.audience.fusion import TAG, Told
from adplatform.audience.models import Behaviour, Consent

from . import bulk
from .records import DecisionRecord

READS_PER_BATCH = 20  # pages of one visitor that one batch remembers: a bound, not a rule of the trade


def remember(decisions: Sequence[DecisionRecord]) -> None:
    """Upsert the visitors of new decisions, their consent where it is new, and the pages they read."""
    known = [record for record in decisions if record.visitor and record.source != "test"]
    if not known:
        return
    ids = _upsert_visitors(known)
    _add_consents(known, ids)
    _add_reads(known, ids)


def _upsert_visitors(decisions: Sequence[DecisionRecord]) -> dict[str, int]:
    """Ids by pseudonym. An old record that comes late does not turn `last_seen_at` back."""
    rows: dict[str, dict[str, object]] = {}
    for record in sorted(decisions, key=lambda record: (record.visitor, record.served_at)):
        row = rows.setdefault(
            record.visitor,
            {"pseudonym": record.visitor, "first_seen_at": record.served_at, "source": record.source},
        )
        row["last_seen_at"] = record.served_at
    found = bulk.execute(
        "INSERT INTO audience_visitor ({columns}) SELECT {columns} FROM json_populate_recordset("
        "NULL::audience_visitor, %s) ON CONFLICT (pseudonym) DO UPDATE SET "
        "last_seen_at = greatest(audience_visitor.last_seen_at, EXCLUDED.last_seen_at) RETURNING pseudonym, id",
        ("pseudonym", "first_seen_at", "last_seen_at", "source"),
        rows.values(),
    )
    return dict(found)


def _add_consents(decisions: Sequence[DecisionRecord], ids: dict[str, int]) -> None:
    """One row per visitor and consent string, at the moment when it was first sent."""
    said: dict[tuple[int, str], DecisionRecord] = {}
    for record in decisions:
        if record.evidence:
            said.setdefault((ids[record.visitor], record.evidence), record)
    stored = set(
        Consent.objects.filter(visitor_id__in={pk for pk, _ in said}).values_list("visitor_id", "evidence")
    )
    Consent.objects.bulk_create(
        Consent(visitor_id=pk, is_granted=True, source="tcf", evidence=evidence, at=record.served_at)
        for (pk, evidence), record in said.items()
        if (pk, evidence) not in stored
    )


def _add_reads(decisions: Sequence[DecisionRecord], ids: dict[str, int]) -> None:
    """The words of the pages, once per page and request."""
    reads: dict[tuple[int, str, str], Told] = {}
    per_visitor: Counter[int] = Counter()
    for record in decisions:
        pk = ids[record.visitor]
        item = (record.url or f"site:{record.site_id}")[:80]
        key = (pk, item, record.request_id)
        if not record.keywords or key in reads or per_visitor[pk] >= READS_PER_BATCH:
            continue
        per_visitor[pk] += 1
        reads[key] = Told(
            visitor=pk,
            kind=Behaviour.Kind.READ.value,
            item=item,
            text=record.keywords,
            value_micros=0,
            occurred_at=record.served_at,
            source=TAG,
        )
    audience.store(list(reads.values()))
