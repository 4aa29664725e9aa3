"""What visitors say about ads, stored as facts: each press of a button once."""

from __future__ import annotations

from collections.abc import Sequence

from . import bulk
from .facts import Fact
from .records import FeedbackGiven

_COLUMNS = (
    *("decision_id", "kind", "turn", "is_given", "served_at", "occurred_at", "slot_id", "publisher_id"),
    *("advertiser_id", "campaign_id", "line_item_id", "creative_id", "visitor", "source"),
)


def store(said: Sequence[FeedbackGiven]) -> list[Fact]:
    """Add what is new and return it, in the order in which it was said."""
    rows = {(row["decision_id"], row["kind"], row["turn"]): row for row in map(_row, said)}
    found = bulk.execute(
        "INSERT INTO events_feedback ({columns}) SELECT {columns} FROM json_populate_recordset("
        "NULL::events_feedback, %s) ON CONFLICT DO NOTHING RETURNING decision_id, kind, turn",
        _COLUMNS,
        [rows[key] for key in sorted(rows, key=str)],
    )
    new = {(bulk.hex_of(decision), kind, turn) for decision, kind, turn in found}
    return [
        Fact.of(one.kind, one.served, one.occurred_at, turn=one.turn, is_given=one.is_given)
        for one in said
        if _key(one) in new
    ]


def _key(said: FeedbackGiven) -> tuple[str, str, int]:
    return said.served.decision_id.hex(), said.kind, said.turn


def _row(said: FeedbackGiven) -> dict[str, object]:
    served = said.served
    copied = (
        "served_at",
        "slot_id",
        "publisher_id",
        "advertiser_id",
        "campaign_id",
        "line_item_id",
        "creative_id",
    )
    decision_id, kind, turn = _key(said)
    return {name: getattr(served, name) for name in copied} | {
        "decision_id": decision_id,
        "kind": kind,
        "turn": turn,
        "is_given": said.is_given,
        "occurred_at": said.occurred_at,
        "visitor": served.visitor.hex(),
        "source": served.source,
    }
