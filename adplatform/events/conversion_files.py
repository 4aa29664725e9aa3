"""Conversions and adjustments as a CSV file: every line with its own result, and nothing stored in a dry run.

Columns: action, event_id, occurred_at (ISO 8601 with a zone), and where they are known click_id, user_id, value (in units
of the currency), currency; adjustment_id makes a line an adjustment (an empty value takes the conversion back).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from adplatform.accounts.models import Organisation
from adplatform.core.pseudonym import pseudonym

from .records import Served
from .services import Change, Report, Result, adjust_conversions, record_conversions

MOST_LINES = 50_000
NEEDED = ("action", "event_id", "occurred_at")
ClickOf = Callable[[str], Served | None]


class FileError(ValueError):
    """A file that cannot be read at all, in a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class LineResult:
    """What became of one line, counted from 2: the first holds the names."""

    line: int
    event_id: str
    status: str
    reason: str = ""


def upload(
    text: str, *, advertiser: Organisation, click_of: ClickOf, at: datetime, dry_run: bool
) -> list[LineResult]:
    """Store the file's lines, or only say what would become of each."""
    lines = _lines(text)
    results: dict[int, Result] = {}
    reports: dict[int, Report] = {}
    changes: dict[int, Change] = {}
    for number, row in lines.items():
        try:
            if row.get("adjustment_id"):
                changes[number] = _change(row)
            else:
                reports[number] = _report(row, click_of)
        except ValueError as error:
            results[number] = Result(row.get("event_id", ""), "rejected", str(error))
    recorded = record_conversions(
        advertiser=advertiser, reports=list(reports.values()), at=at, dry_run=dry_run
    )
    changed = adjust_conversions(
        advertiser=advertiser, changes=list(changes.values()), at=at, dry_run=dry_run
    )
    results |= dict(zip(reports, recorded, strict=True)) | dict(zip(changes, changed, strict=True))
    return [
        LineResult(number, one.event_id, one.status, one.reason) for number, one in sorted(results.items())
    ]


def _lines(text: str) -> dict[int, dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := [name for name in NEEDED if name not in (reader.fieldnames or ())]:
        raise FileError(f"The first line must name the columns; {', '.join(missing)} is missing.")
    try:
        rows = {
            number: {
                key: (value or "").strip()
                for key, value in row.items()
                if isinstance(key, str) and not isinstance(value, list)
            }
            for number, row in enumerate(reader, start=2)
        }
    except csv.Error as error:
        raise FileError(f"This is no CSV file: {error}.") from error
    if len(rows) > MOST_LINES:
        raise FileError(f"A file holds at most {MOST_LINES:,} lines: split it.")
    return rows


def _report(row: dict[str, str], click_of: ClickOf) -> Report:
    return Report(
        event_id=row["event_id"],
        action=row["action"],
        occurred_at=_moment(row["occurred_at"]),
        value_micros=_micros(row.get("value", "")),
        currency=row.get("currency", ""),
        click=click_of(row["click_id"]) if row.get("click_id") else None,
        visitor=pseudonym(row["user_id"]) if row.get("user_id") else "",
    )


def _change(row: dict[str, str]) -> Change:
    return Change(
        event_id=row["event_id"],
        action=row["action"],
        adjustment_id=row["adjustment_id"],
        occurred_at=_moment(row["occurred_at"]),
        value_micros=_micros(row.get("value", "")),
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("invalid_time") from None
    if moment.tzinfo is None:
        raise ValueError("time_without_zone")
    return moment


def _micros(text: str) -> int | None:
    if not text:
        return None
    try:
        micros = Decimal(text) * 1_000_000
    except InvalidOperation:
        raise ValueError("invalid_value") from None
    if not micros.is_finite() or micros != int(micros):
        raise ValueError("invalid_value")
    return int(micros)
