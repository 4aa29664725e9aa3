"""Does the money match what was seen? Billable events, hourly statistics, settlements and the ledger are four records of
the same amounts, cell by cell (hour, campaign, slot); this holds them against one another, to the micro.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from adplatform.billing.queries import BILLED_SOURCES
from adplatform.billing.verification import Violation

_MOST_NAMED = 100


@dataclass(slots=True)
class Reconciled:
    """Totals in micros by currency, and what does not match."""

    totals: dict[str, dict[str, int]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": not self.violations,
            "totals": self.totals,
            "violations": [violation.as_dict() for violation in self.violations],
        }


# One row per cell, with what each of the four records says of it; the last two hold the publisher's part.
_CELLS = """
CREATE TEMPORARY TABLE cells ON COMMIT DROP AS
SELECT hour, campaign_id, slot_id, max(currency) AS currency, sum(events)::bigint AS events, sum(hourly)::bigint AS hourly,
    sum(settled)::bigint AS settled, sum(ledger)::bigint AS ledger, sum(credited)::bigint AS credited, sum(earned)::bigint AS earned,
    sum(returned)::bigint AS returned
FROM (
    SELECT date_trunc('hour', served_at, 'UTC') AS hour, campaign_id, slot_id, currency, charge_micros AS events,
        0::bigint AS hourly, 0::bigint AS settled, 0::bigint AS ledger, 0::bigint AS credited, 0::bigint AS earned,
        0::bigint AS returned
    FROM events_impression WHERE is_billable AND charge_micros > 0 AND source = ANY(%(sources)s)
    UNION ALL
    SELECT date_trunc('hour', served_at, 'UTC'), campaign_id, slot_id, currency, charge_micros, 0, 0, 0, 0, 0, 0
    FROM events_click WHERE is_billable AND charge_micros > 0 AND source = ANY(%(sources)s)
    UNION ALL
    SELECT date_trunc('hour', served_at, 'UTC'), campaign_id, slot_id, currency, -charge_micros, 0, 0, 0, 0, 0, charge_micros
    FROM events_invalidation WHERE charge_micros > 0 AND source = ANY(%(sources)s)
    UNION ALL
    SELECT hour, campaign_id, slot_id, currency, 0, spend_micros, 0, 0, 0, 0, 0 FROM events_hourlystat
    WHERE spend_micros <> 0 AND source = ANY(%(sources)s)
    UNION ALL
    SELECT hour, campaign_id, slot_id, NULL, 0, 0, settled_micros, 0, earned_micros, 0, 0 FROM billing_settlement
    UNION ALL
    SELECT to_timestamp(split_part(p.key, ':', 2), 'YYYYMMDD"T"HH24')::timestamp AT TIME ZONE 'UTC', split_part(p.key, ':', 3)::bigint,
        split_part(p.key, ':', 4)::bigint, e.currency, 0, 0, 0,
        CASE WHEN a.kind = 'prepaid' THEN -e.micros ELSE 0 END, 0, CASE WHEN a.kind = 'earned' THEN e.micros ELSE 0 END, 0
    FROM billing_posting p JOIN billing_entry e ON e.posting_id = p.id JOIN billing_ledgeraccount a ON a.id = e.account_id
    WHERE p.kind = 'settle' AND a.kind IN ('prepaid', 'earned')
) AS records GROUP BY hour, campaign_id, slot_id
"""

_TOTALS = """
SELECT coalesce(currency, '?'), sum(events)::bigint, sum(hourly)::bigint, sum(settled)::bigint, sum(ledger)::bigint,
    sum(greatest(events - settled, 0))::bigint, sum(greatest(settled - events, 0))::bigint
FROM cells GROUP BY 1 ORDER BY 1
"""

# (rule, condition, words); settled below the events is no violation: those are not yet settled. Nor is what was found
# invalid since the last settlement, which the next one gives back.
_RULES = (
    (
        "statistics_equal_events",
        "hourly <> events",
        "billable events cost {events} micros, hourly statistics say {hourly}",
    ),
    (
        "settled_is_not_more_than_events",
        "settled > events + returned",
        "billable events cost {events} micros, {settled} are settled",
    ),
    (
        "ledger_equals_settlements",
        "ledger <> settled",
        "{settled} micros are settled, the ledger holds {ledger}",
    ),
    (
        "earnings_equal_settlements",
        "earned <> credited",
        "settlements credited the publisher {credited} micros, the ledger {earned}",
    ),
)

# Events that belong to nothing: no decision, or ids that no row has.
_ORPHANS = """
SELECT e.event_id, e.kind, d.decision_id IS NULL, c.id IS NULL, s.id IS NULL FROM (
    SELECT 'i:' || decision_id AS event_id, 'impression' AS kind, decision_id, campaign_id, slot_id, source FROM events_impression
    UNION ALL SELECT 'v:' || decision_id, 'view', decision_id, campaign_id, slot_id, source FROM events_view
    UNION ALL SELECT 'c:' || decision_id, 'click', decision_id, campaign_id, slot_id, source FROM events_click
) AS e
LEFT JOIN events_addecision d ON d.decision_id = e.decision_id
LEFT JOIN campaigns_campaign c ON c.id = e.campaign_id
LEFT JOIN inventory_adslot s ON s.id = e.slot_id
WHERE (d.decision_id IS NULL OR c.id IS NULL OR s.id IS NULL) AND e.source = ANY(%(sources)s)
ORDER BY 1 LIMIT %(most)s
"""

_FREE_OF_CHARGE = """
SELECT event_id, kind, source, charge_micros FROM audit_event
WHERE charge_micros > 0 AND source <> ALL(%(sources)s) ORDER BY 1 LIMIT %(most)s
"""
_AMOUNTS = ("events", "hourly", "settled", "ledger", "credited", "earned")


def reconcile() -> Reconciled:
    """Hold the four records against one another, all at one moment."""
    found = Reconciled()
    with transaction.atomic(), connection.cursor() as cursor:
        if len(connection.savepoint_ids) == 0:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        values: dict[str, Any] = {"sources": list(BILLED_SOURCES), "most": _MOST_NAMED}
        cursor.execute(_CELLS, values)
        cursor.execute(_TOTALS)
        names = (
            *("billable_events", "hourly_statistics", "settled", "ledger", "not_yet_settled"),
            "not_yet_returned",
        )
        found.totals = {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}
        for rule, condition, words in _RULES:
            cursor.execute(
                f"SELECT hour, campaign_id, slot_id, {', '.join(_AMOUNTS)} FROM cells WHERE {condition} "  # noqa: S608
                "ORDER BY 1, 2, 3 LIMIT %(most)s",
                values,
            )
            found.violations += [_cell(rule, words, row) for row in cursor.fetchall()]
        cursor.execute(_ORPHANS, values)
        found.violations += [_orphan(row) for row in cursor.fetchall()]
        cursor.execute(_FREE_OF_CHARGE, values)
        found.violations += [_charged(*row) for row in cursor.fetchall()]
        cursor.execute("DROP TABLE cells")
    return found


def _cell(rule: str, words: str, row: Sequence[Any]) -> Violation:
    hour: datetime = row[0]
    amounts = dict(zip(_AMOUNTS, row[3:], strict=True))
    return Violation(rule, f"{hour:%Y-%m-%dT%H}Z campaign {row[1]} slot {row[2]}", words.format(**amounts))


def _orphan(row: Sequence[Any]) -> Violation:
    event_id, kind, *lacking = row
    names = [
        name for name, is_missing in zip(("decision", "campaign", "slot"), lacking, strict=True) if is_missing
    ]
    return Violation("event_belongs_to_a_decision", event_id, f"this {kind} has no {' and no '.join(names)}")


def _charged(event_id: str, kind: str, source: str, micros: int) -> Violation:
    words = f"this {kind} of source {source} cost {micros} micros"
    return Violation("tests_and_imports_cost_nothing", event_id, words)
