"""One transaction that turns a batch of stream records into facts, charges and statistics.

Facts of one advertiser are stored by one transaction at a time (an advisory lock per advertiser, taken in order):
so a duplicate is seen before it is charged, and budgets are exact. Everything that follows is written in one fixed
order of tables and keys. A record that was stored before changes nothing at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import numpy as np
from django.db import connection, transaction

from adplatform.campaigns import budgets
from adplatform.campaigns.stretches import STRETCH_MILLISECONDS

from . import binary, bulk, delivery, feedback, forgotten, pixels, readers, validity
from .columns import DECISION_BYTES, IDS, Column, Events, Ints, runs
from .facts import Fact
from .records import DecisionRecord, FeedbackGiven, PixelConversion, Record, Tallied, TokenEvent
from .statistics import add_counted, add_fill, add_refused
from .validity import Reason

_STRETCH_MICROSECONDS = 1_000 * STRETCH_MILLISECONDS
_TABLES = {"impression": "events_impression", "view": "events_view", "click": "events_click"}

# Of a record, what events.AdDecision keeps; its ordinal, url and evidence are for others.
_DECISION_COLUMNS: dict[str, binary.Writer] = {
    **dict.fromkeys(("decision_id", "request_id"), binary.uuids),
    "served_at": binary.instants,
    **dict.fromkeys((*IDS, "site_id"), binary.bigints),
    **dict.fromkeys(("no_ad", "mode", "visitor", "country", "region", "language", "device"), binary.texts),
    **dict.fromkeys(("keywords", "currency", "price_kind", "source", "instead"), binary.texts),
    "position": binary.smallints,
    "candidates": binary.integers,
    **dict.fromkeys(("bid_micros", "price_micros", "floor_micros", "charge_micros"), binary.bigints),
    **dict.fromkeys(("runner_up_micros", "seed"), binary.bigints),
    **dict.fromkeys(("text_score", "pctr", "pcvr", "propensity", "factor"), binary.floats),
    **dict.fromkeys(("refused", "versions", "choice_set", "candidate_table"), binary.jsons),
    "features": binary.byteas,
    "explored": binary.bools,
}
_EVENT_COLUMNS = (
    *("decision_id", "served_at", "occurred_at", *IDS),
    *("visitor", "currency", "is_billable", "reason", "charge_micros", "source", "origin", "seen"),
)
_COUNTS = np.array([name in validity.COUNTED for name in validity.NAMES])


@dataclass(frozen=True, slots=True)
class _Judged:
    """New events with what became of each: its reason (a place in validity.NAMES) and what was charged for it."""

    events: Events
    reasons: Ints
    charged_micros: Ints


@dataclass(frozen=True, slots=True)
class Stored:
    """What of a batch was new and counts: events, and what visitors said; each in the order of the stream."""

    counted: Sequence[TokenEvent]
    said: Sequence[Fact]

    def facts(self) -> list[Fact]:
        events = [
            Fact.of(one.kind, one.served, one.occurred_at, pctr=one.served.pctr) for one in self.counted
        ]
        return [*events, *self.said]


def store(records: Sequence[Record], *, granted: budgets.Granted, at: datetime) -> Stored:
    """Store a batch in one transaction; returns what is new."""
    with transaction.atomic():
        of: dict[type, list[Any]] = defaultdict(list)
        for record in forgotten.without_erased(records):
            of[type(record)].append(record)
        events = of[TokenEvent]
        paying = pixels.resolve(of[PixelConversion])
        bulk.lock_advertisers({event.served.advertiser_id for event in events} | paying.keys())
        _store_decisions(of[DecisionRecord])
        counted = _store_events(events, granted=granted, at=at)
        pixels.store(paying, at=at)
        said = feedback.store(of[FeedbackGiven])
        delivery.store(of[Tallied])
    return Stored(counted, said)


def _store_events(
    events: Sequence[TokenEvent], *, granted: budgets.Granted, at: datetime
) -> list[TokenEvent]:
    """Store those that are new; returns those of them that count."""
    new = _new(events)
    if not new:
        return []
    judged = _judge(Events(new), granted=granted, at=at)
    _insert_events(judged)
    counts = _COUNTS[judged.reasons]
    add_counted(judged.events, np.flatnonzero(counts), judged.reasons == 0, judged.charged_micros)
    return [event for event, is_counted in zip(new, counts.tolist(), strict=True) if is_counted]


def _store_decisions(decisions: Sequence[DecisionRecord]) -> None:
    if not decisions:
        return
    rows = sorted(decisions, key=attrgetter("decision_id"))
    columns = [write([getattr(record, name) for record in rows]) for name, write in _DECISION_COLUMNS.items()]
    new = set(bulk.add_new("events_addecision", list(_DECISION_COLUMNS), [binary.joined(columns, len(rows))]))
    fresh = {record.decision_id: record for record in rows if record.decision_id in new}
    add_fill(fresh.values())
    readers.remember(list(fresh.values()))


def _new(events: Sequence[TokenEvent]) -> list[TokenEvent]:
    """The first of each kind and decision that the tables do not hold, in their order."""
    of: dict[str, list[int]] = {kind: [] for kind in _TABLES}
    prefetched = []
    for place, event in enumerate(events):
        if event.agent == Reason.PREFETCH:
            prefetched.append(event)
        else:
            of[event.kind].append(place)
    new: list[int] = []
    for kind, places in of.items():
        first = {events[place].served.decision_id: place for place in reversed(places)}
        for known in _known(kind, first):
            del first[known]
        new += first.values()
    is_new = np.zeros(len(events), bool)
    is_new[new] = True
    asked = [place for places in of.values() for place in places]
    again = [events[place] for place in asked if not is_new[place]] if len(new) < len(asked) else []
    add_refused(
        [*((event, Reason.PREFETCH) for event in prefetched), *((event, Reason.DUPLICATE) for event in again)]
    )
    return [events[place] for place in sorted(new)]


def _known(kind: str, decisions: Collection[bytes]) -> list[bytes]:
    """Those of them that the table of this kind holds."""
    if not decisions:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT decision_id FROM {_TABLES[kind]} WHERE decision_id = ANY(%s::uuid[])",  # noqa: S608
            [f"{{{b''.join(decisions).hex(',', DECISION_BYTES)}}}"],
        )
        return [bytes.fromhex(bulk.hex_of(value)) for (value,) in cursor.fetchall()]


def _judge(events: Events, *, granted: budgets.Granted, at: datetime) -> _Judged:
    """Valid or not, and charged or not."""
    reasons = validity.reasons_not_billable(events)
    waiting = _too_little_for_all(events, np.flatnonzero(reasons == 0), granted=granted, at=at)
    charges = [
        budgets.Charge(ad.campaign_id, ad.advertiser_id, ad.served_at, ad.charge_micros)
        for ad in (events.given[place].served for place in waiting.tolist())
    ]
    refusals = budgets.charge(charges, granted=granted, at=at)
    reasons[waiting] = [validity.CODES[refusal or ""] for refusal in refusals]
    return _Judged(events, reasons, np.where(reasons == 0, events.numbers["charge_micros"], 0))


def _too_little_for_all(events: Events, payable: Ints, *, granted: budgets.Granted, at: datetime) -> Ints:
    """Charge in sums what can be paid for whatever comes first; returns the others, of which one may be paid for and the
    next not. A sum is of a campaign and stretch: no day ends within one."""
    if not len(payable):
        return payable
    stretches = events.served_at // _STRETCH_MICROSECONDS
    campaigns, advertisers = events.numbers["campaign_id"], events.numbers["advertiser_id"]
    order, starts = runs(stretches[payable], campaigns[payable], advertisers[payable])
    ordered = payable[order]
    micros = np.add.reduceat(events.numbers["charge_micros"][ordered], starts).tolist()
    first = [events.given[place].served for place in ordered[starts].tolist()]
    sums = [
        budgets.Charge(ad.campaign_id, ad.advertiser_id, ad.served_at, total)
        for ad, total in zip(first, micros, strict=True)
    ]
    is_paid = np.array(budgets.charge_sums(sums, granted=granted, at=at))
    lengths = np.diff(np.append(starts, len(ordered)))
    return np.sort(ordered[~np.repeat(is_paid, lengths)])


def _insert_events(judged: _Judged) -> None:
    """What is new: nobody else stores these advertisers' facts meanwhile, so the rows can be copied in."""
    rows: dict[str, list[bytes]] = defaultdict(list)
    events = judged.events
    groups = events.word_of * len(validity.NAMES) + judged.reasons
    for group in np.unique(groups).tolist():
        places = np.flatnonzero(groups == group)
        word, reason = divmod(group, len(validity.NAMES))
        kind = events.words[word].kind
        rows[kind].append(
            binary.rows(_event_columns(judged, places, word, validity.NAMES[reason]), len(places))
        )
    for kind, table in _TABLES.items():
        bulk.add(table, _EVENT_COLUMNS, rows[kind])


def _event_columns(judged: _Judged, places: Ints, word: int, reason: str) -> list[Column | str]:
    """In the order of _EVENT_COLUMNS, of events that say the same words and have one reason."""
    events, words, each = judged.events, judged.events.words[word], places.tolist()
    return [
        binary.same_size([events.decisions[place] for place in each]),
        binary.moments(events.served_at[places]),
        binary.moments(events.occurred_at[places]),
        *(events.numbers[name][places] for name in IDS),
        binary.as_hex([events.visitors[place] for place in each]),
        words.currency,
        np.full(len(places), not reason),
        reason,
        judged.charged_micros[places],
        words.source,
        binary.as_hex([events.origins[place] for place in each]),
        words.seen,
    ]
