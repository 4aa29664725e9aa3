"""A visitor's live counters as ingest reads and writes them; their fields are told in learning.statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from adplatform.learning.statistics import (
    VISITOR_CLICKS,
    VISITOR_EXPECTED,
    VISITOR_IMPRESSIONS,
    VISITOR_SECONDS,
    epoch_of,
    frequency_field,
    outdated_fields,
    recent_field,
    visitor_key,
    weight,
)
from ml.ctr.counters import Keys, Statistics

TOTALS = (VISITOR_IMPRESSIONS, VISITOR_CLICKS, VISITOR_EXPECTED)
RECENT = (b"N", b"C", b"X")  # the same of late

Known = dict[str, dict[bytes, float]]


def ask(pipeline: Any, keys: Sequence[Keys], moments: Sequence[float]) -> dict[str, list[bytes]]:
    """Ask for the fields that events of these keys at these moments add to; returns which, by visitor."""
    newest: dict[str, float] = {}
    line_items: dict[str, set[int]] = {}
    for of, at in zip(keys, moments, strict=True):
        if of.visitor is not None:
            visitor = str(of.visitor)
            newest[visitor] = max(at, newest.get(visitor, at))
            line_items.setdefault(visitor, set()).add(cast(int, of.line_item))
    fields = {visitor: _fields(epoch_of(at), line_items[visitor]) for visitor, at in newest.items()}
    for visitor, wanted in fields.items():
        pipeline.hmget(visitor_key(visitor), wanted)
    return fields


def _fields(epoch: int, line_items: set[int]) -> list[bytes]:
    of_late = [recent_field(letter, epoch) for letter in RECENT]
    return [*TOTALS, *of_late, *(frequency_field(number) for number in sorted(line_items))]


def known(fields: Mapping[str, Sequence[bytes]], answers: Sequence[Sequence[bytes | None]]) -> Known:
    """What Valkey answered to `ask`, zeros for what it does not hold."""
    return {
        visitor: {name: float(value or 0) for name, value in zip(names, values, strict=True)}
        for (visitor, names), values in zip(fields.items(), answers, strict=True)
    }


def write(pipeline: Any, after: Statistics, before: Known) -> None:
    """Everything counted of visitors. `after` holds their totals, and of recent and frequency what was added to `before`.

    Whole values in one command each: a sum in Valkey takes it several times as long, and it answers nobody meanwhile.
    """
    for name, recent in after.recent["visitor"].items():
        visitor, key = str(name), visitor_key(str(name))
        was = before.get(visitor, {})
        epoch = epoch_of(recent[3])
        pipeline.hset(key, mapping=_written(after, name, epoch, was))
        if not was.get(recent_field(RECENT[0], epoch)):  # the first of its epoch
            pipeline.hdel(key, *outdated_fields(epoch))
        pipeline.expire(key, VISITOR_SECONDS)


def _written(after: Statistics, name: Any, epoch: int, was: Mapping[bytes, float]) -> dict[bytes, Any]:
    """Impressions and clicks as whole numbers, sums with all their digits; what is and was zero is left out."""
    impressions, clicks, expected = after.visitor[name]
    recent = after.recent["visitor"][name]
    faded = weight(recent[3], epoch)
    fields: dict[bytes, Any] = dict(zip(TOTALS, (int(impressions), int(clicks), repr(expected)), strict=True))
    for letter, added in zip(RECENT, recent[:3], strict=True):
        field = recent_field(letter, epoch)
        fields[field] = repr(was.get(field, 0.0) + added * faded)
    for line_item, seen in after.frequency.get(name, {}).items():
        field = frequency_field(cast(int, line_item))
        fields[field] = int(was.get(field, 0.0) + seen)
    return {field: value for field, value in fields.items() if value not in (0, "0.0") or was.get(field)}
