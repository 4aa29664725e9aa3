"""Numbers as a CSV file: streamed row by row, plain amounts, and never a formula in somebody's spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.http import StreamingHttpResponse

from adplatform.core.money import MICROS
from adplatform.insights.metrics import Totals

# A spreadsheet takes a cell that begins so for a formula (OWASP: CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

ADVERTISER_COLUMNS = (
    "impressions",
    "views",
    "clicks",
    "ctr",
    "conversions",
    "spend",
    "revenue",
    "cpc",
    "cpm",
    "cost_per_conversion",
    "roas",
    "roi",
)
PUBLISHER_COLUMNS = ("impressions", "views", "clicks", "ctr", "earned", "ecpm")


def cell(value: object) -> str | int | float | Decimal:
    """A number stays a number; text that a spreadsheet would run as a formula is marked as text."""
    if value is None:
        return ""
    if isinstance(value, int | float | Decimal):
        return value
    text = str(value)
    return (
        f"'{text}" if text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS) else text
    )


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    writer: Any = csv.writer(_Echo())
    # Excel reads UTF-8 only behind a byte order mark.
    yield "\ufeff" + writer.writerow(header)
    for row in rows:
        yield writer.writerow([cell(value) for value in row])


def csv_response(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """`rows` is read while it is sent; it must not need the request's transaction."""
    return StreamingHttpResponse(
        lines(header, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"},
    )


def totals_cells(total: Totals, columns: Sequence[str]) -> list[object]:
    """The columns of a report; amounts as plain decimals with all their micros, so that they add up."""

    def amount(micros: int | None) -> Decimal | None:
        return None if micros is None else Decimal(micros) / MICROS

    values: dict[str, object] = {
        "impressions": total.impressions,
        "views": total.views,
        "clicks": total.clicks,
        "ctr": total.ctr,
        "conversions": total.conversions,
        "spend": amount(total.spend_micros),
        "revenue": amount(total.revenue_micros),
        "earned": amount(total.earned_micros),
        "cpc": amount(total.cpc_micros),
        "cpm": amount(total.cpm_micros),
        "ecpm": amount(total.ecpm_micros),
        "cost_per_conversion": amount(total.cpa_micros),
        "roas": total.roas,
        "roi": total.roi,
    }
    return [values[name] for name in columns]
