"""Late events and conversions of visitors who were erased meanwhile: stored for what they count, without whom they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from adplatform.audience import erasures

from .records import DecisionRecord, FeedbackGiven, PixelConversion, Record, Served, TokenEvent


def without_erased(records: Sequence[Record]) -> Sequence[Record]:
    """The batch as it may be stored."""
    of_erased = gone(map(served_at, records), lambda place: visitor_of(records[place]))
    if not of_erased:
        return records
    return [anonymous(record) if place in of_erased else record for place, record in enumerate(records)]


def gone(moments: Iterable[datetime | None], visitor: Callable[[int], str]) -> set[int]:
    """Places of what belongs to somebody who was forgotten since: `moments` says when each happened, `visitor` whose the
    one at a place is ('' where nobody's).

    Call it inside the transaction that stores them, before other locks are taken. What is newer than the newest erasure
    is nobody's who is gone, and costs only the look at its moment.
    """
    newest = erasures.newest()
    if newest is None:
        return set()
    early = {place: at for place, at in enumerate(moments) if at is not None and at <= newest}
    if not early:
        return set()
    erased = erasures.since(min(early.values()))
    return {
        place
        for place, at in early.items()
        if (name := visitor(place)) and (until := erased.get(erasures.subject_of(name))) and at <= until
    }


def visitor_of(record: Record) -> str:
    """The pseudonym that a record holds, or ''."""
    if isinstance(record, DecisionRecord):
        return record.visitor
    served = _served(record)
    return served.visitor.hex() if served else ""


def served_at(record: Record) -> datetime | None:
    """When the ad was served that a record is about."""
    if isinstance(record, TokenEvent):  # most are
        return record.served.served_at
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
