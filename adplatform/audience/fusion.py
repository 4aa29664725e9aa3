"""One act told by several sources is one act: which of them is believed for what, by rules written down.

The rules, in order (docs/data.md explains them):

1. Consent. What is told of a visitor without consent does not count, whoever tells it.
2. The same act. Same visitor, kind and item, told by *different* sources within `WINDOW`. One source that tells of two
   moments tells of two acts; one that tells of the same moment twice repeats itself.
3. Trust, field by field. The most trusted source that says something is believed (`TRUST`); among equally trusted ones
   the newer moment. Saying nothing (an empty text, no value) never overrules a value.
4. The moment is that of whoever told first, so that a late report does not move an act in time.

Pure: no clock, no database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

TAG, IMPORT, API = "tag", "import", "api"
# A server that knows the order is believed before a file about it, and that before what a page's tag saw.
TRUST = {API: 3, IMPORT: 2, TAG: 1}
WINDOW = timedelta(minutes=10)
FIELDS = ("text", "value_micros")

Key = tuple[object, str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """What one source tells of one act; `visitor` is any key of the visitor."""

    visitor: object
    kind: str
    item: str
    text: str
    value_micros: int
    occurred_at: datetime
    source: str
    is_consented: bool = True

    @property
    def key(self) -> Key:
        return self.visitor, self.kind, self.item


@dataclass(slots=True)
class Fused:
    """One act. `told` holds the last word of each source, the first teller first; `row` is its row, once stored."""

    told: dict[str, Told] = field(default_factory=dict)
    row: int | None = None

    @property
    def occurred_at(self) -> datetime:
        return next(iter(self.told.values())).occurred_at

    @property
    def source(self) -> str:
        """The most trusted of those who told of it."""
        return max(self.told, key=lambda source: TRUST[source])

    def believed(self, name: str) -> Told:
        """Who is believed for a field."""
        return max(
            self.told.values(),
            key=lambda one: (bool(getattr(one, name)), TRUST[one.source], one.occurred_at),
        )

    @property
    def text(self) -> str:
        return self.believed("text").text

    @property
    def value_micros(self) -> int:
        return self.believed("value_micros").value_micros

    @property
    def provenance(self) -> dict[str, Any]:
        """Who gave each field and when each source told of it; empty where there was one source."""
        if len(self.told) < 2:
            return {}
        fields = {name: self.believed(name).source for name in FIELDS}
        return fields | {"told": {one.source: one.occurred_at.isoformat() for one in self.told.values()}}

    def takes(self, one: Told, window: timedelta) -> bool:
        """Whether this is the act that `one` tells of."""
        own = self.told.get(one.source)
        if own is not None:
            return own.occurred_at == one.occurred_at
        return abs(one.occurred_at - self.occurred_at) <= window


def fuse(told: Iterable[Told], *, known: Iterable[Fused] = (), window: timedelta = WINDOW) -> list[Fused]:
    """Acts out of what was told, in the order of telling, and `known` ones; the rules are those at the top of this file."""
    acts: dict[Key, list[Fused]] = {}
    for act in known:
        acts.setdefault(next(iter(act.told.values())).key, []).append(act)
    for one in told:
        if not one.is_consented:
            continue
        alike = acts.setdefault(one.key, [])
        fitting = [act for act in alike if act.takes(one, window)]
        if fitting:
            nearest = min(fitting, key=lambda act: abs(act.occurred_at - one.occurred_at))
            nearest.told[one.source] = one
        else:
            alike.append(Fused({one.source: one}))
    return [act for group in acts.values() for act in group]
