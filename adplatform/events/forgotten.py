"""Late events and conversions of visitors who were erased meanwhile: stored for what they count, without whom they came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from adplatform.audience import erasures

from .records import DecisionRecord, FeedbackGiven, PixelConversion, Record, Served, TokenEvent


def without_erased(records: Sequence[Record]) -> Sequence[Record]:
    """The batch as it may be stored."""
    of_erased = gone((visitor_of(record), served_at(record)) for record in records)
    if not any(of_erased):
        return records
    return [
        anonymous(record) if is_gone else record for record, is_gone in zip(records, of_erased, strict=True)
    ]


def gone(told: Iterable[tuple[str, datetime | None]]) -> list[bool]:
    """Whether each (visitor, moment) is of somebody who was forgotten since; empty where none is.

    Call it inside the transaction that stores them, before other locks are taken. One query where nobody was ever
    forgotten, or nothing is older than the newest erasure.
    """
    newest = erasures.newest()
    if newest is None:
        return []
    pairs = list(told)
    asked = {visitor for visitor, at in pairs if visitor and at is not None and at <= newest}
    if not asked or not (moments := erasures.moments(asked)):
        return []
    return [visitor in moments and at is not None and at <= moments[visitor] for visitor, at in pairs]


def visitor_of(record: Record) -> str:
    """The pseudonym that a record holds, or ''."""
    if isinstance(record, DecisionRecord):
        return record.visitor
    served = _served(record)
    return served.visitor.hex() if served else ""


def served_at(record: Record) -> datetime | None:
    """When the ad was served that a record is about."""
    if isinstance(record, DecisionRecord):
        return record.served_at
    served = _served(record)
    return served.served_at if served else None


def anonymous(record: Record) -> Record:
    """The same without the visitor and what he read."""
    if isinstance(record, DecisionRecord):
        return replace(record, visitor="", url="", evidence="", keywords="")
    if isinstance(record, PixelConversion):
        return replace(record, click=replace(record.click, visitor=b"") if record.click else None)
    if isinstance(record, TokenEvent | FeedbackGiven):
        return replace(record, served=replace(record.served, visitor=b""))
    return record


def _served(record: Record) -> Served | None:
    if isinstance(record, PixelConversion):
        return record.click
    return record.served if isinstance(record, TokenEvent | FeedbackGiven) else None
