"""From serving processes' reports to hours of delivery: each report once, added up by line item and hour.

    store      a report is a row of its own, written with the facts of its batch; a second one of its key changes nothing
    add_up     once a minute what waits is summed, added to the hours, and emptied, in one transaction

So a line item's hour is written once a minute, however many processes report, and a kill at any moment loses nothing and
adds nothing twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
from django.db import DataError, connection, transaction

from . import bulk
from .models import DeliveryHour
from .records import Tallied, pack, unpack

HOURS_KEPT = timedelta(days=14)  # then the hours of a day become one row
DAYS_KEPT = timedelta(days=400)  # as far as a report looks back
AT_ONCE = 1_000  # reports in one transaction: up to 500,000 rows

_Table = tuple[list[str], npt.NDArray[np.int64]]  # names of the outcomes, and the rows

_OWNERS = 3  # columns of a report's row before its counts: line item, campaign, advertiser
_REPORT_COLUMNS = ("process", "number", "hour", "waiting")
_COLUMNS = ("hour", "line_item_id", "source", "campaign_id", "advertiser_id", "outcomes")
_STORE = (
    "INSERT INTO events_tallyreport ({columns}) SELECT {columns} FROM json_populate_recordset("
    "NULL::events_tallyreport, %s) ON CONFLICT DO NOTHING"
)
# Whoever writes hours holds the lock, so that what was read of a row is still so when it is written.
_LOCK = "SELECT pg_advisory_xact_lock(4103, 0)"
_WAITING = "SELECT id, waiting FROM events_tallyreport WHERE waiting <> '' ORDER BY id LIMIT %s"
_ADDED = "UPDATE events_tallyreport SET waiting = '' WHERE id = ANY(%s)"
_KNOWN = (
    "SELECT line_item_id, outcomes::text FROM events_deliveryhour "
    "WHERE hour = %s AND source = %s AND line_item_id = ANY(%s)"
)
_WRITE = (
    "INSERT INTO events_deliveryhour ({columns}) SELECT {columns} "
    "FROM json_populate_recordset(NULL::events_deliveryhour, %s) "
    "ON CONFLICT ON CONSTRAINT one_delivery_hour DO UPDATE SET outcomes = EXCLUDED.outcomes"
)
# Hours of a local day become one row at its midnight, in the advertiser's own zone.
_FOLD = """
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
ON CONFLICT ON CONSTRAINT one_delivery_hour DO UPDATE SET outcomes = (
    SELECT jsonb_object_agg(key, n) FROM (SELECT key, sum(value::bigint) AS n FROM (
        SELECT * FROM jsonb_each_text(events_deliveryhour.outcomes) UNION ALL SELECT * FROM jsonb_each_text(EXCLUDED.outcomes)
    ) AS parts GROUP BY key) AS added)
"""


def store(reports: Sequence[Tallied]) -> None:
    """Keep reports that were not stored before until they are added; the caller holds the transaction."""
    keyed = {(UUID(bytes=one.process), one.number): one for one in reports}
    if any(len(row) != _OWNERS + len(one.outcomes) for one in reports for row in one.rows):
        raise DataError("a report has rows of another width than its outcomes")
    rows = [
        {
            "process": str(process),
            "number": number,
            "hour": keyed[process, number].hour,
            "waiting": f"\\x{pack(keyed[process, number]).hex()}",
        }
        for process, number in sorted(keyed)
    ]
    bulk.execute(_STORE, _REPORT_COLUMNS, rows)


def add_up() -> int:
    """Add all reports that wait to the hours of their line items; returns how many there were."""
    added = 0
    while count := _add_some():
        added += count
    return added


def waiting() -> int:
    """How many reports are not added yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events_tallyreport WHERE waiting <> ''")
        return int(cursor.fetchone()[0])


def _add_some() -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        cursor.execute(_WAITING, [AT_ONCE])
        found = cursor.fetchall()
        pages: dict[tuple[datetime, str], list[_Table]] = defaultdict(list)
        for _pk, packed in found:
            report = unpack(bytes(packed))
            assert isinstance(report, Tallied)
            if report.rows:
                table = report.outcomes, np.array(report.rows, np.int64)
                pages[report.hour, report.source].append(table)
        for hour, source in sorted(pages):
            bulk.execute(_WRITE, _COLUMNS, _rows(hour, source, pages[hour, source]))
        cursor.execute(_ADDED, [[pk for pk, _packed in found]])
    return len(found)


def _rows(hour: datetime, source: str, tables: Sequence[_Table]) -> Iterator[dict[str, Any]]:
    """The hour's rows as they are with these reports, in order of line items."""
    names = sorted({name for outcomes, _table in tables for name in outcomes})
    column = {name: place for place, name in enumerate(names)}
    owners = np.concatenate([table[:, :_OWNERS] for _outcomes, table in tables])
    line_items, first = np.unique(owners[:, 0], return_index=True)
    sums = np.zeros((len(line_items), len(names)), np.int64)
    for outcomes, table in tables:
        row = np.searchsorted(line_items, table[:, 0]) * len(names)
        columns = np.array([column[name] for name in outcomes], np.int64)
        np.add.at(sums.ravel(), row[:, None] + columns, table[:, _OWNERS:])
    known = _known(hour, source, line_items.tolist())
    for (line_item, campaign, advertiser), counts in zip(owners[first].tolist(), sums.tolist(), strict=True):
        found = known.get(line_item, {})
        for name, n in zip(names, counts, strict=True):
            if n:
                found[name] = found.get(name, 0) + n
        values = (hour, line_item, source, campaign, advertiser, found)
        yield dict(zip(_COLUMNS, values, strict=True))


def _known(hour: datetime, source: str, line_items: list[int]) -> dict[int, dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [hour, source, line_items])
        return {line_item: msgspec.json.decode(outcomes) for line_item, outcomes in cursor.fetchall()}


def shrink(*, at: datetime) -> tuple[int, int]:
    """Fold old hours into days and forget what no report reaches; returns days written and rows forgotten."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        cursor.execute(_FOLD, [at - HOURS_KEPT])
        folded = cursor.rowcount
        cursor.execute("DELETE FROM events_deliveryhour WHERE hour < %s", [at - DAYS_KEPT])
        forgotten = cursor.rowcount
        cursor.execute("DELETE FROM events_tallyreport WHERE hour < %s AND waiting = ''", [at - HOURS_KEPT])
    return folded, forgotten


def foldable(*, at: datetime) -> int:
    """How many rows are old enough to be folded."""
    return DeliveryHour.objects.filter(hour__lt=at - HOURS_KEPT).count()
