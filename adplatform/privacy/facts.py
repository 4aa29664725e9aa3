"""Where facts say whose they are, and how they stop saying it: columns are emptied, rows stay.

The database lets exactly these columns of facts become empty and nothing else change (migration events.0011), so that
counts, money and proofs stay what they were. Work goes in batches of their own transactions: ingest waits for none long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

BATCH = 5_000
OURS = ("live", "test")  # of real visitors: data sets and the demo market are left as they are


@dataclass(frozen=True, slots=True)
class FactTable:
    """`moment` is the column by which its rows grow old; `rows` what they are called."""

    name: str
    key: str
    moment: str
    rows: str
    meaning: str


TABLES = (
    FactTable(
        "events_addecision",
        "decision_id",
        "served_at",
        "decisions",
        "Each time we decided which ad to show you",
    ),
    FactTable("events_impression", "decision_id", "served_at", "impressions", "Ads that were shown to you"),
    FactTable(
        "events_view",
        "decision_id",
        "served_at",
        "views",
        "Ads that were in your view long enough to count as seen",
    ),
    FactTable("events_click", "decision_id", "served_at", "clicks", "Ads that you clicked"),
    FactTable(
        "events_conversion",
        "id",
        "occurred_at",
        "conversions",
        "Purchases and the like that an advertiser told us of",
    ),
    FactTable("events_feedback", "id", "served_at", "words about ads", "What you said about ads"),
)


def anonymise(table: FactTable, visitor: str, *, until: datetime) -> int:
    """Empty the pseudonym (and words of pages) of one visitor's facts that were served until then."""
    with_words = ", keywords = ''" if table.name == "events_addecision" else ""
    return _run(
        f"UPDATE {table.name} SET visitor = ''{with_words} WHERE visitor = %(visitor)s"  # noqa: S608 - our names
        f" AND {table.moment} <= %(until)s",
        {"visitor": visitor, "until": until},
    )


def count_old(table: FactTable, column: str, *, before: datetime) -> int:
    """Rows that still say something in this column and are older."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table.name} WHERE {_old(table, column)}", _parameters(before))  # noqa: S608
        return int(cursor.fetchone()[0])


def empty_old(table: FactTable, column: str, *, before: datetime) -> int:
    """Empty the column of rows that are older."""
    sql = (
        f"UPDATE {table.name} SET {column} = '' WHERE {table.key} IN"  # noqa: S608 - our names
        f" (SELECT {table.key} FROM {table.name} WHERE {_old(table, column)} LIMIT {BATCH})"
    )
    return in_batches(lambda: _run(sql, _parameters(before)))


def in_batches(work: Callable[[], int]) -> int:
    """Repeat, each time in a transaction, until nothing is left; returns how much that was."""
    total = 0
    while done := work():
        total += done
    return total


def _run(sql: str, parameters: Mapping[str, Any]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def _old(table: FactTable, column: str) -> str:
    return f"{table.moment} < %(before)s AND {column} <> '' AND source = ANY(%(sources)s)"


def _parameters(before: datetime) -> dict[str, Any]:
    return {"before": before, "sources": list(OURS)}
