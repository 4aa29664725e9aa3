"""Impressions, views and clicks of a batch as columns: what is done to each of thousands is done to all of them at once.

What events say in words (their kind, currency, source and so on) is the same for most of a batch: each combination stands
in `words` once, and an event names its place there. What hangs on words alone is decided once per combination.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from .records import Served, TokenEvent

Column = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DECISION_BYTES = 16
IDS = ("slot_id", "publisher_id", "advertiser_id", "campaign_id", "line_item_id", "creative_id")
NUMBERS = (*IDS, "charge_micros")


class Words(NamedTuple):
    """What an event says that is no number; of its pseudonym and origin only how many bytes they have."""

    kind: str
    price_kind: str
    currency: str
    source: str
    agent: str
    seen: str
    visitor_bytes: int
    origin_bytes: int


class Events:
    """Columns of equal length, in the order of `given`. Times are microseconds since 1970.

    Raises ValueError or OverflowError where an event's ids or numbers fit no column of the database.
    """

    def __init__(self, given: Sequence[TokenEvent]) -> None:
        self.given = given
        served = _columns([event.served for event in given])
        self.decisions, self.visitors = served["decision_id"], served["visitor"]
        if not set(map(len, self.decisions)) <= {DECISION_BYTES}:
            raise ValueError(f"a decision's id has {DECISION_BYTES} bytes")
        self.served_at, self.expires_at = micros_of(served["served_at"]), micros_of(served["expires_at"])
        self.occurred_at = micros_of([event.occurred_at for event in given])
        self.numbers: dict[str, Ints] = {name: np.array(served[name], np.int64) for name in NUMBERS}
        self.origins = [event.origin for event in given]
        said = list(
            zip(
                [event.kind for event in given],
                *(served["price_kind"], served["currency"], served["source"]),
                [event.agent for event in given],
                [event.seen for event in given],
                *(map(len, self.visitors), map(len, self.origins)),
                strict=True,
            )
        )
        places = {words: place for place, words in enumerate(dict.fromkeys(said))}
        self.words = [Words(*words) for words in places]
        self.word_of = np.fromiter(map(places.__getitem__, said), np.int64, len(said))

    def __len__(self) -> int:
        return len(self.given)

    def by_words(self, values: Iterable[object], dtype: Any) -> Column:
        """A column from one value for each of `words`."""
        return np.array(list(values), dtype)[self.word_of]


def runs(*columns: Column) -> tuple[Ints, Ints]:
    """The order that brings equal rows together, and where in it each run of equal rows begins."""
    order = np.lexsort(columns)
    differs = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    return order, np.flatnonzero(np.concatenate(([True], differs)))


def _columns(served: Sequence[Served]) -> dict[str, tuple[Any, ...]]:
    """The fields of served ads by name."""
    names = Served.__struct_fields__
    return (
        dict(zip(names, zip(*map(astuple, served), strict=True), strict=True))
        if served
        else dict.fromkeys(names, ())
    )


def micros_of(moments: Sequence[datetime]) -> Ints:
    """Microseconds since 1970."""
    # Exact: as a float, seconds are right to a quarter of a microsecond until 2106.
    seconds = np.fromiter(map(datetime.timestamp, moments), np.float64, len(moments))
    return np.rint(seconds * 1e6).astype(np.int64)
