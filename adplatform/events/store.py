"""One transaction that turns a batch of stream records into facts, charges and statistics.

Facts of one advertiser are stored by one transaction at a time (an advisory lock per advertiser, taken in order):
so a duplicate is seen before it is charged, and budgets are exact. Everything that follows is written in one fixed
order of tables and keys. A record that was stored before changes nothing at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.db import connection, transaction

from adplatform.campaigns import budgets

from . import bulk, delivery, feedback, forgotten, pixels, readers, validity
from .facts import Fact
from .records import DecisionRecord, FeedbackGiven, PixelConversion, Record, Tallied, TokenEvent
from .statistics import Sums, add_fill, add_refused, hour_of
from .validity import Reason

_TABLES = {"impression": "events_impression", "view": "events_view", "click": "events_click"}

# Fields of a record that are no columns of events.AdDecision: they are for others.
_NO_COLUMNS = frozenset({"ordinal", "url", "evidence"})
_DECISION_COLUMNS = tuple(name for name in DecisionRecord.__struct_fields__ if name not in _NO_COLUMNS)
_EVENT_COLUMNS = (
    *("decision_id", "served_at", "occurred_at", "slot_id", "publisher_id", "advertiser_id", "campaign_id"),
    *(
        "line_item_id",
        "creative_id",
        "visitor",
        "currency",
        "is_billable",
        "reason",
        "charge_micros",
        "source",
        "origin",
        "seen",
    ),
)


@dataclass(slots=True)
class _Judged:
    """A new event with what became of it."""

    event: TokenEvent
    reason: str = ""
    charge_micros: int = 0

    @property
    def counts(self) -> bool:
        return self.reason in validity.COUNTED


def store(records: Sequence[Record], *, granted: budgets.Granted, at: datetime) -> list[Fact]:
    """Store a batch in one transaction and return the facts that are new and count, in stream order."""
    with transaction.atomic():
        records = forgotten.without_erased(records)
        decisions = [record for record in records if isinstance(record, DecisionRecord)]
        events = [record for record in records if isinstance(record, TokenEvent)]
        conversions = [record for record in records if isinstance(record, PixelConversion)]
        said = [record for record in records if isinstance(record, FeedbackGiven)]
        paying = pixels.resolve(conversions)
        bulk.lock_advertisers({event.served.advertiser_id for event in events} | paying.keys())
        _store_decisions(decisions)
        judged = _judge(_new(events), granted=granted, at=at)
        _insert_events(judged)
        _add_statistics(judged)
        pixels.store(paying, at=at)
        heard = feedback.store(said)
        delivery.store([record for record in records if isinstance(record, Tallied)])
    counted = [item.event for item in judged if item.counts]
    facts = [Fact.of(one.kind, one.served, one.occurred_at, pctr=one.served.pctr) for one in counted]
    return facts + heard


def _store_decisions(decisions: Sequence[DecisionRecord]) -> None:
    rows = sorted(decisions, key=lambda record: record.decision_id)
    new = set(bulk.insert("events_addecision", _DECISION_COLUMNS, map(_decision_row, rows)))
    fresh = {record.decision_id: record for record in rows if record.decision_id in new}
    add_fill(fresh.values())
    readers.remember(list(fresh.values()))


def _decision_row(record: DecisionRecord) -> dict[str, object]:
    """As PostgreSQL reads it out of JSON: bytes in its hexadecimal form."""
    return msgspec.structs.asdict(record) | {"features": f"\\x{record.features.hex()}"}


def _new(events: Sequence[TokenEvent]) -> list[TokenEvent]:
    """The first of each kind and decision that the tables do not hold."""
    seen = _known(events)
    new = []
    refused = []
    for event in events:
        key = (event.kind, event.served.decision_id.hex())
        if event.agent == Reason.PREFETCH:
            refused.append((event, Reason.PREFETCH))
        elif key in seen:
            refused.append((event, Reason.DUPLICATE))
        else:
            seen.add(key)
            new.append(event)
    add_refused(refused)
    return new


def _known(events: Sequence[TokenEvent]) -> set[tuple[str, str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for event in events:
        ids[event.kind].append(event.served.decision_id.hex())
    known: set[tuple[str, str]] = set()
    with connection.cursor() as cursor:
        for kind, wanted in ids.items():
            cursor.execute(
                f"SELECT decision_id FROM {_TABLES[kind]} WHERE decision_id = ANY(%s::uuid[])",  # noqa: S608
                [wanted],
            )
            known.update((kind, bulk.hex_of(value)) for (value,) in cursor.fetchall())
    return known


def _judge(events: Sequence[TokenEvent], *, granted: budgets.Granted, at: datetime) -> list[_Judged]:
    """Valid or not, and charged or not."""
    judged = [_Judged(event, validity.reason_not_billable(event) or "") for event in events]
    payable = [item for item in judged if not item.reason]
    charges = [
        budgets.Charge(
            campaign_id=item.event.served.campaign_id,
            advertiser_id=item.event.served.advertiser_id,
            served_at=item.event.served.served_at,
            micros=item.event.served.charge_micros,
        )
        for item in payable
    ]
    for item, refusal in zip(payable, budgets.charge(charges, granted=granted, at=at), strict=True):
        item.reason = refusal or ""
        item.charge_micros = 0 if refusal else item.event.served.charge_micros
    return judged


def _insert_events(judged: Sequence[_Judged]) -> None:
    """What is new: nobody else stores these advertisers' facts meanwhile, so the rows can be copied in."""
    in_order = sorted(judged, key=lambda item: item.event.served.decision_id)
    for kind, table in _TABLES.items():
        bulk.add(table, _EVENT_COLUMNS, [_event_line(item) for item in in_order if item.event.kind == kind])


def _event_line(item: _Judged) -> str:
    """In the order of _EVENT_COLUMNS."""
    event, served = item.event, item.event.served
    return (
        f"{served.decision_id.hex()}\t{served.served_at.isoformat()}\t{event.occurred_at.isoformat()}\t{served.slot_id}\t"
        f"{served.publisher_id}\t{served.advertiser_id}\t{served.campaign_id}\t{served.line_item_id}\t{served.creative_id}\t"
        f"{served.visitor.hex()}\t{served.currency}\t{'f' if item.reason else 't'}\t{item.reason}\t{item.charge_micros}\t"
        f"{served.source}\t{event.origin.hex()}\t{event.seen}"
    )


def _add_statistics(judged: Sequence[_Judged]) -> None:
    sums = Sums()
    for item in judged:
        if item.counts:
            served, kind = item.event.served, item.event.kind
            amounts = {f"{kind}s": 1}
            if kind == "impression" and item.event.seen:
                amounts["measured"] = 1
            if not item.reason:
                amounts |= {f"billable_{kind}s": 1, "spend_micros": item.charge_micros}
            sums.add(hour_of(served.served_at), served, served.source, **amounts)
    sums.write()
