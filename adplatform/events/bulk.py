"""Many rows in one statement: sent as one JSON text where they are few, copied as tab-separated text where speed matters.
PostgreSQL checks every type in both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO, StringIO
from typing import Any

import msgspec
from django.db import connection

from . import binary

_PIECE = 1 << 18  # bytes that are handed to the connection at once
_LOCK = 4100  # class of the advisory locks: one per advertiser whose facts are being stored

_json = msgspec.json.Encoder().encode

Row = Mapping[str, object]


def execute(sql: str, columns: Sequence[str], rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """Run a statement whose `{columns}` are these and whose one parameter is the rows; returns what it returns."""
    rows = list(rows)
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(sql.format(columns=", ".join(columns)), [_json(rows).decode()])
        return list(cursor.fetchall()) if cursor.description else []


def copy(table: str, columns: Sequence[str], lines: Sequence[str]) -> None:
    """Rows as COPY reads them: values in the order of the columns, between tabs, `\\N` for NULL. None may be there
    already. The values are our own words and numbers, which hold no tab and no backslash."""
    if lines:
        with connection.cursor() as cursor, connection.wrap_database_errors:
            cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", StringIO("\n".join(lines)))


def add(table: str, columns: Sequence[str], rows: Sequence[bytes]) -> None:
    """Rows as events.binary makes them, into a table whose rows belong to tenants, where PostgreSQL refuses COPY: by way of
    one of the session's. None may be there already."""
    if rows:
        _arrived(table, columns, rows, "")


def add_new(table: str, columns: Sequence[str], rows: Sequence[bytes]) -> list[str]:
    """The same of rows whose decision the table does not hold yet; returns the decisions that were new."""
    if not rows:
        return []
    new = "ON CONFLICT (decision_id) DO NOTHING RETURNING replace(decision_id::text, '-', '')"
    return [decision for (decision,) in _arrived(table, columns, rows, new)]


def _arrived(table: str, columns: Sequence[str], rows: Sequence[bytes], then: str) -> list[tuple[Any, ...]]:
    listed, arriving = ", ".join(columns), f"arriving_{table}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {arriving} ON COMMIT DELETE ROWS"  # noqa: S608 - our names
            f" AS SELECT {listed} FROM {table} WITH NO DATA; TRUNCATE {arriving}"
        )
    copy_binary(arriving, columns, rows)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {arriving} {then}")  # noqa: S608
        return list(cursor.fetchall()) if cursor.description else []


def copy_binary(table: str, columns: Sequence[str], rows: Iterable[bytes]) -> None:
    """Rows as events.binary makes them."""
    whole = BytesIO(b"".join((binary.HEADER, *rows, binary.TRAILER)))
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.copy_expert(
            f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)", whole, size=_PIECE
        )


def lock_advertisers(ids: Iterable[int]) -> None:
    """Keep other transactions from storing facts of these advertisers until this one ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, id) FROM unnest(%s::int[]) AS id", [_LOCK, sorted(set(ids))]
        )


def hex_of(uuid: object) -> str:
    """A UUID as 32 hex digits, the form in which ids travel."""
    return str(uuid).replace("-", "")
