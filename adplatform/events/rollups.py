"""Daily statistics as sums of the hourly ones. A day is rebuilt whole, so that doing it again changes nothing."""

from __future__ import annotations

from datetime import date

from django.db import connection, transaction

from .statistics import SUMS

_KEY = ("creative_id", "slot_id", "source")
_OWNERS = ("advertiser_id", "publisher_id", "campaign_id", "line_item_id", "currency")
_SUMS = ", ".join(SUMS)
_TOTALS = ", ".join(f"sum({name})::bigint AS {name}" for name in SUMS)

# Days whose hours do not add up to them, looked at by all sums at once.
_STALE = f"""
    SELECT coalesce(hours.date, days.date)
    FROM (SELECT (hour AT TIME ZONE 'UTC')::date AS date, {_TOTALS} FROM events_hourlystat GROUP BY 1) AS hours
    FULL JOIN (SELECT date, {_TOTALS} FROM events_dailystat GROUP BY 1) AS days USING (date)
    WHERE ROW({", ".join(f"hours.{name}" for name in SUMS)})
        IS DISTINCT FROM ROW({", ".join(f"days.{name}" for name in SUMS)})
    ORDER BY 1
"""  # noqa: S608 - our own column names

_REBUILD = f"""
    INSERT INTO events_dailystat (date, {", ".join((*_KEY, *_OWNERS))}, {_SUMS})
    SELECT %s, {", ".join(_KEY)}, {", ".join(f"min({name})" for name in _OWNERS)}, {_TOTALS}
    FROM events_hourlystat
    WHERE hour >= %s::date::timestamp AT TIME ZONE 'UTC' AND hour < (%s::date + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY {", ".join(_KEY)}
"""  # noqa: S608


def stale_days() -> list[date]:
    """Days (UTC) whose daily rows do not equal their hours."""
    with connection.cursor() as cursor:
        cursor.execute(_STALE)
        return [day for (day,) in cursor.fetchall()]


def rebuild(day: date) -> int:
    """Replace the rows of one day by the sums of its hours; returns how many rows it has now."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(4102, %s)", [day.toordinal()])
        cursor.execute("DELETE FROM events_dailystat WHERE date = %s", [day])
        cursor.execute(_REBUILD, [day, day, day])
        return int(cursor.rowcount)
