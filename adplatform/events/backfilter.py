"""The second look at traffic: what single events cannot show, many together do. Hourly, over the events of a day.

    find          pure SQL: which counted events are invalid, and why; thresholds are events.thresholds
    invalidate    a new fact for each, and what it had added is taken from statistics and given back to budgets

Clicks are looked at by subject: a visitor, an address, a network (both only as hashes that live two days). The books
follow at the next settlement, by postings (billing.settlement). Doing all of it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from adplatform.campaigns import budgets

from . import bulk
from .statistics import Sums, hour_of
from .thresholds import VERSION, Thresholds
from .validity import COUNTED

LOOK_BACK = timedelta(hours=26)  # tokens live for 24

Found = dict[tuple[str, str], str]  # (kind, decision) -> reason

# Every click of the window; `is_open` where it counts until now.
_CLICKS = """
CREATE TEMPORARY TABLE looked_at AS
SELECT c.decision_id, c.occurred_at, c.creative_id, c.slot_id, c.campaign_id, c.visitor, c.origin,
    i.occurred_at AS shown_at, i.seen = 'yes' AND v.decision_id IS NULL AS is_unviewed,
    CASE WHEN i.reason <> ALL(%(counted)s) THEN i.reason ELSE '' END AS shown_reason,
    c.reason = ANY(%(counted)s) AND x.decision_id IS NULL AS is_open
FROM events_click c LEFT JOIN events_impression i ON i.decision_id = c.decision_id
LEFT JOIN events_view v ON v.decision_id = c.decision_id
LEFT JOIN events_invalidation x ON x.decision_id = c.decision_id AND x.kind = 'click'
WHERE c.served_at >= %(since)s AND c.served_at < %(until)s AND c.source = ANY(%(sources)s)
"""

# What a click and its impression show alone. In PostgreSQL a missing impression compares to nothing.
_ALONE = """
SELECT decision_id, CASE
    WHEN shown_reason <> '' THEN shown_reason
    WHEN shown_at IS NULL OR occurred_at < shown_at - make_interval(secs => %(clock_seconds)s) THEN 'unseen'
    ELSE 'too_fast' END
FROM looked_at WHERE is_open AND (
    shown_reason <> ''
    OR %(unseen_minutes)s > 0 AND shown_at IS NULL AND occurred_at < %(until)s - make_interval(secs => 60 * %(unseen_minutes)s)
    OR occurred_at < shown_at - make_interval(secs => %(clock_seconds)s)
    OR occurred_at >= shown_at AND occurred_at < shown_at + make_interval(secs => %(least_dwell_seconds)s))
"""

# A second click of a double-click, and a visitor's fourth on the same creative.
_AGAIN = """
SELECT decision_id, 'repeated' FROM (
    SELECT decision_id, is_open, visitor,
        occurred_at - lag(occurred_at) OVER (PARTITION BY subject, creative_id ORDER BY occurred_at, decision_id) AS gap,
        row_number() OVER (PARTITION BY subject, creative_id ORDER BY occurred_at, decision_id) AS n
    FROM (SELECT *, coalesce(nullif(visitor, ''), origin) AS subject FROM looked_at) AS told WHERE subject <> ''
) AS numbered
WHERE is_open AND (gap < make_interval(secs => %(double_click_seconds)s) OR visitor <> '' AND n > %(clicks_per_creative)s)
"""

_GROUPS = """
CREATE TEMPORARY TABLE clicked_by AS
WITH told AS (
    SELECT 'visitor' AS scope, visitor AS subject, * FROM looked_at WHERE visitor <> ''
    UNION ALL SELECT 'address', origin, * FROM looked_at WHERE origin <> ''
    UNION ALL SELECT 'network', left(origin, 8), * FROM looked_at WHERE origin <> ''
)
SELECT scope, subject, count(*) AS clicks, max(in_ten_minutes) AS in_ten_minutes, max(in_an_hour) AS in_an_hour,
    stddev_pop(gap) / nullif(avg(gap), 0) AS gap_variation, stddev_pop(dwell) / nullif(avg(dwell), 0) AS dwell_variation,
    count(dwell) AS dwells
FROM (
    SELECT scope, subject, extract(epoch FROM occurred_at - shown_at) AS dwell,
        extract(epoch FROM occurred_at - lag(occurred_at) OVER own) AS gap,
        count(*) OVER (own RANGE '10 minutes' PRECEDING) AS in_ten_minutes, count(*) OVER (own RANGE '1 hour' PRECEDING) AS in_an_hour
    FROM told WINDOW own AS (PARTITION BY scope, subject ORDER BY occurred_at)
) AS timed GROUP BY scope, subject HAVING count(*) >= least(%(rate_clicks)s, %(regular_clicks)s, %(clicks_per_hour)s, %(address_clicks)s)
"""

# Clicks of a subject that behaves like no person, all of its day.
_TOGETHER = """
WITH shown AS (
    SELECT scope, subject, count(*) AS n FROM clicked_by JOIN (
        SELECT visitor, origin FROM events_impression
        WHERE served_at >= %(since)s AND served_at < %(until)s AND source = ANY(%(sources)s)
    ) AS i ON subject = CASE scope WHEN 'visitor' THEN i.visitor WHEN 'address' THEN i.origin ELSE left(i.origin, 8) END
    GROUP BY scope, subject
), judged AS (
    SELECT scope, subject, CASE
        WHEN scope = 'visitor' AND in_an_hour >= %(clicks_per_hour)s THEN 'repeated'
        WHEN scope <> 'visitor' AND clicks >= %(burst_rate)s * coalesce(n, 0) AND (
            in_ten_minutes >= least_of_scope OR in_an_hour >= 2 * least_of_scope) THEN 'address_burst'
        WHEN scope <> 'network' AND clicks >= %(rate_clicks)s AND clicks >= %(click_rate)s * coalesce(n, 0) THEN 'click_rate'
        WHEN clicks >= %(regular_clicks)s AND gap_variation < %(gap_variation)s THEN 'regular'
        WHEN dwells >= %(regular_clicks)s AND dwell_variation < %(dwell_variation)s THEN 'regular'
        END AS reason
    FROM (SELECT *, CASE scope WHEN 'network' THEN %(network_clicks)s ELSE %(address_clicks)s END AS least_of_scope FROM clicked_by) AS each
    LEFT JOIN shown USING (scope, subject)
)
SELECT c.decision_id, min(j.reason) FROM judged j JOIN looked_at c
    ON j.subject = CASE j.scope WHEN 'visitor' THEN c.visitor WHEN 'address' THEN c.origin ELSE left(c.origin, 8) END
WHERE j.reason IS NOT NULL AND c.is_open GROUP BY c.decision_id
"""

# Of one who is shown one ad, clicks on it and is not seen again nothing can be said; of many such together it can. People
# click on what they have in view, and the tag tells of nearly all of these views: how rarely it fails is seen from those who are
# shown more. Where many more newcomers than that clicked without a view, those were none.
_NEWCOMERS = """
WITH once AS (
    SELECT coalesce(nullif(visitor, ''), origin) AS subject FROM events_impression
    WHERE served_at >= %(since)s AND served_at < %(until)s AND source = ANY(%(sources)s) GROUP BY 1 HAVING count(*) = 1
), told AS (
    SELECT c.*, once.subject IS NOT NULL AS is_new
    FROM (SELECT *, coalesce(nullif(visitor, ''), origin) AS subject FROM looked_at) AS c LEFT JOIN once USING (subject)
    WHERE is_open AND subject <> '' AND is_unviewed IS NOT NULL
        AND occurred_at >= shown_at + make_interval(secs => %(view_seconds)s)
), usual AS (
    SELECT (count(*) FILTER (WHERE is_unviewed) + 1.0) / (count(*) + 20.0) AS share FROM told WHERE NOT is_new
), parted AS (
    SELECT decision_id, is_unviewed, scope, number FROM told
    CROSS JOIN LATERAL (VALUES ('slot', slot_id), ('campaign', campaign_id), ('all', 0)) AS part(scope, number) WHERE is_new
), odd AS (
    SELECT scope, number FROM parted CROSS JOIN usual GROUP BY scope, number, share
    HAVING count(*) FILTER (WHERE is_unviewed) >= %(newcomers)s + %(newcomers_times)s * share * count(*)
)
SELECT DISTINCT decision_id, 'newcomers' FROM parted JOIN odd USING (scope, number) WHERE is_unviewed
"""

# Impressions in which a page is reloaded without end.
_RELOADED = """
SELECT decision_id, 'repeated' FROM (
    SELECT i.decision_id, x.decision_id IS NULL AND i.reason = ANY(%(counted)s) AS is_open,
        count(*) OVER (PARTITION BY i.visitor, date_trunc('minute', i.occurred_at)) AS n
    FROM events_impression i LEFT JOIN events_invalidation x ON x.decision_id = i.decision_id AND x.kind = 'impression'
    WHERE i.served_at >= %(since)s AND i.served_at < %(until)s AND i.source = ANY(%(sources)s) AND i.visitor <> ''
) AS counted WHERE is_open AND n > %(impressions_per_minute)s
"""

_COPIED = (
    *("decision_id", "served_at", "slot_id", "publisher_id", "advertiser_id", "campaign_id", "line_item_id"),
    *("creative_id", "currency", "charge_micros", "source"),
)
_INSERT = """
INSERT INTO events_invalidation (kind, reason, rules, found_at, {columns})
SELECT %(kind)s, found.reason, %(rules)s, %(at)s, {from_event} FROM unnest(%(ids)s::uuid[], %(reasons)s::text[]) AS found(id, reason)
JOIN events_{kind} AS e ON e.decision_id = found.id
WHERE e.reason = ANY(%(counted)s) ORDER BY e.decision_id
ON CONFLICT DO NOTHING RETURNING reason, {columns}
"""


@dataclass(slots=True)
class Filtered:
    """What one run found: events by reason, and charges given back by currency."""

    reasons: dict[str, int] = field(default_factory=dict)
    micros: dict[str, int] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return sum(self.reasons.values())


@dataclass(frozen=True, slots=True)
class _Taken:
    """An invalidated event: all that taking it out of the sums needs."""

    kind: str
    reason: str
    decision_id: str
    served_at: datetime
    slot_id: int
    publisher_id: int
    advertiser_id: int
    campaign_id: int
    line_item_id: int
    creative_id: int
    currency: str
    charge_micros: int
    source: str
    was_billable: bool = False
    was_measured: bool = False


def run(*, at: datetime, limits: Thresholds, sources: Sequence[str], dry_run: bool = False) -> Filtered:
    """Find and invalidate, in one transaction."""
    with transaction.atomic():
        found = find(since=at - LOOK_BACK, until=at, limits=limits, sources=sources)
        if dry_run:
            counted: dict[str, int] = {}
            for reason in found.values():
                counted[reason] = counted.get(reason, 0) + 1
            return Filtered(counted)
        return invalidate(found, at=at)


def find(*, since: datetime, until: datetime, limits: Thresholds, sources: Sequence[str]) -> Found:
    """Counted events served in [since, until) that are invalid; of several reasons the first that was found holds."""
    values: dict[str, Any] = asdict(limits) | {
        "since": since,
        "until": until,
        "counted": [str(reason) for reason in COUNTED],
        "sources": list(sources),
    }
    found: Found = {}
    with connection.cursor() as cursor:
        cursor.execute(_CLICKS, values)
        cursor.execute("ANALYZE looked_at")
        cursor.execute(_GROUPS, values)
        for kind, sql in (
            ("click", _ALONE),
            ("click", _TOGETHER),
            ("click", _AGAIN),
            ("click", _NEWCOMERS),
            ("impression", _RELOADED),
        ):
            cursor.execute(sql, values)
            for decision, reason in cursor.fetchall():
                found.setdefault((kind, bulk.hex_of(decision)), reason)
        cursor.execute("DROP TABLE looked_at, clicked_by")
    return found


def invalidate(found: Found, *, at: datetime) -> Filtered:
    """Store each finding once and give back what the events had cost. Inside a transaction or its own."""
    done = Filtered()
    with transaction.atomic():
        hold()
        _lock(found)
        taken = [item for kind in ("impression", "click") for item in _insert(kind, found, at)]
        _take_from_statistics(taken)
        budgets.give_back(
            [
                budgets.Charge(item.campaign_id, item.advertiser_id, item.served_at, item.charge_micros)
                for item in taken
                if item.charge_micros
            ]
        )
    for item in taken:
        done.reasons[item.reason] = done.reasons.get(item.reason, 0) + 1
        if item.charge_micros:
            done.micros[item.currency] = done.micros.get(item.currency, 0) + item.charge_micros
    return done


def hold() -> None:
    """Let no other transaction store findings until this one ends: so they are committed in the order of their ids, and
    whoever follows them by id (learning.live) misses none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4104, 0)")


def _lock(found: Found) -> None:
    """The advertisers of the events, as ingest locks them: their sums and budgets are written by one at a time."""
    ids: set[int] = set()
    with connection.cursor() as cursor:
        for kind in ("impression", "click"):
            wanted = [decision for of, decision in found if of == kind]
            cursor.execute(
                f"SELECT DISTINCT advertiser_id FROM events_{kind} WHERE decision_id = ANY(%s::uuid[])",  # noqa: S608
                [wanted],
            )
            ids.update(pk for (pk,) in cursor.fetchall())
    bulk.lock_advertisers(ids)


def _insert(kind: str, found: Found, at: datetime) -> list[_Taken]:
    reasons = {decision: reason for (of, decision), reason in sorted(found.items()) if of == kind}
    if not reasons:
        return []
    values: dict[str, Any] = {
        "kind": kind,
        "rules": VERSION,
        "at": at,
        "ids": list(reasons),
        "reasons": list(reasons.values()),
        "counted": [str(reason) for reason in COUNTED],
    }
    sql = _INSERT.format(
        kind=kind, columns=", ".join(_COPIED), from_event=", ".join(f"e.{name}" for name in _COPIED)
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
        cursor.execute(
            f"SELECT decision_id, is_billable, seen <> '' FROM events_{kind} WHERE decision_id = ANY(%s::uuid[])",  # noqa: S608
            [[str(row[1]) for row in rows]],
        )
        was = {decision: (billable, measured) for decision, billable, measured in cursor.fetchall()}
    names = ("reason", *_COPIED, "was_billable", "was_measured")
    return [_Taken(kind=kind, **dict(zip(names, (*row, *was[row[1]]), strict=True))) for row in rows]


def _take_from_statistics(taken: Sequence[_Taken]) -> None:
    sums = Sums()
    for item in taken:
        amounts = {f"{item.kind}s": -1, "spend_micros": -item.charge_micros}
        if item.was_billable:
            amounts[f"billable_{item.kind}s"] = -1
        if item.was_measured and item.kind == "impression":
            amounts["measured"] = -1
        sums.add(hour_of(item.served_at), item, item.source, **amounts)
    sums.correct()
