"""From serving processes' reports to hours of delivery: each report once, added up by line item and hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from . import bulk
from .models import DeliveryHour
from .records import Tallied

HOURS_KEPT = timedelta(days=14)  # then the hours of a day become one row
DAYS_KEPT = timedelta(days=400)  # as far as a report looks back

_REPORT_COLUMNS = ("process", "number", "hour")
_COLUMNS = ("hour", "line_item_id", "source", "campaign_id", "advertiser_id", "outcomes")
_SUM = (
    "(SELECT jsonb_object_agg(key, n) FROM (SELECT key, sum(value::bigint) AS n FROM ("
    "SELECT * FROM jsonb_each_text(events_deliveryhour.outcomes) UNION ALL "
    "SELECT * FROM jsonb_each_text(EXCLUDED.outcomes)) AS parts GROUP BY key) AS added)"
)
_ON_CONFLICT = f"ON CONFLICT ON CONSTRAINT one_delivery_hour DO UPDATE SET outcomes = {_SUM}"
_ADD = (
    "INSERT INTO events_deliveryhour ({columns}) SELECT {columns} "
    "FROM json_populate_recordset(NULL::events_deliveryhour, %s) " + _ON_CONFLICT
)
_NEW = (
    "INSERT INTO events_tallyreport ({columns}) SELECT {columns} FROM json_populate_recordset("
    "NULL::events_tallyreport, %s) ON CONFLICT DO NOTHING RETURNING process, number"
)
# Hours of a local day become one row at its midnight, in the advertiser's own zone.
_FOLD = f"""
WITH gone AS (
    DELETE FROM events_deliveryhour AS old USING accounts_organisation AS owner
    WHERE owner.id = old.advertiser_id AND old.hour < %s AND old.hour <> date_trunc('day', old.hour, owner.time_zone)
    RETURNING date_trunc('day', old.hour, owner.time_zone) AS day, old.*
), summed AS (
    SELECT day, line_item_id, source, campaign_id, advertiser_id, key, sum(value::bigint) AS n
    FROM gone, jsonb_each_text(gone.outcomes) GROUP BY 1, 2, 3, 4, 5, 6
)
INSERT INTO events_deliveryhour (hour, line_item_id, source, campaign_id, advertiser_id, outcomes)
SELECT day, line_item_id, source, campaign_id, advertiser_id, jsonb_object_agg(key, n) FROM summed GROUP BY 1, 2, 3, 4, 5
{_ON_CONFLICT}
"""  # noqa: S608 - our own names


def store(reports: Sequence[Tallied]) -> None:
    """Add reports that were not added before; the caller holds the transaction."""
    if not reports:
        return
    keyed = {(UUID(bytes=one.process), one.number): one for one in reports}
    rows = [
        {"process": str(process), "number": number, "hour": keyed[process, number].hour}
        for process, number in sorted(keyed)
    ]
    new = bulk.execute(_NEW, _REPORT_COLUMNS, rows)
    sums: dict[tuple[int, datetime, str], dict[str, Any]] = {}
    for process, number in new:
        _add(sums, keyed[UUID(str(process)), number])
    bulk.execute(_ADD, _COLUMNS, (sums[key] for key in sorted(sums)))


def _add(sums: dict[tuple[int, datetime, str], dict[str, Any]], report: Tallied) -> None:
    for line_item, campaign, advertiser, *counts in report.rows:
        key = (line_item, report.hour, report.source)
        row = sums.get(key)
        if row is None:
            values: tuple[Any, ...] = (report.hour, line_item, report.source, campaign, advertiser, {})
            row = sums[key] = dict(zip(_COLUMNS, values, strict=True))
        outcomes = row["outcomes"]
        for outcome, n in zip(report.outcomes, counts, strict=True):
            if n:
                outcomes[outcome] = outcomes.get(outcome, 0) + n


def shrink(*, at: datetime) -> tuple[int, int]:
    """Fold old hours into days and forget what no report reaches; returns days written and rows forgotten."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4103, 0)")
        cursor.execute(_FOLD, [at - HOURS_KEPT])
        folded = cursor.rowcount
        cursor.execute("DELETE FROM events_deliveryhour WHERE hour < %s", [at - DAYS_KEPT])
        forgotten = cursor.rowcount
        cursor.execute("DELETE FROM events_tallyreport WHERE hour < %s", [at - HOURS_KEPT])
    return folded, forgotten


def foldable(*, at: datetime) -> int:
    """How many rows are old enough to be folded."""
    return DeliveryHour.objects.filter(hour__lt=at - HOURS_KEPT).count()
