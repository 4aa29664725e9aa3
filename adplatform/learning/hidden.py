"""What visitors asked not to see, as it lies in the hot Valkey, where the next request finds it. No Django here.

    hide:{pseudonym}     n:{line item}, o:{line item}, a:{advertiser}  →  until when, in seconds since 1970
    said:{decision}      {kind}  →  "{turn} {1 or 0}": what holds now of one decision, for the page that asks

Written twice: by the endpoint that hears it, so that it holds at the next request, and by ingest once the fact is
stored, so that it holds in any case. Of one decision and kind the highest turn wins, whoever comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DAY_SECONDS = 86_400
NOT_INTERESTED, SEEN_TOO_OFTEN, HIDE_ADVERTISER = "not_interested", "seen_too_often", "hide_advertiser"
MORE_LIKE_THIS = "more_like_this"  # hides nothing; it speaks to the profile alone

# Kind → the letter of its field and for how long it hides.
HIDES = {
    NOT_INTERESTED: (b"n", 90 * DAY_SECONDS),
    SEEN_TOO_OFTEN: (b"o", 7 * DAY_SECONDS),
    HIDE_ADVERTISER: (b"a", 90 * DAY_SECONDS),
}
KINDS = (*HIDES, MORE_LIKE_THIS)
LONGEST_SECONDS = max(seconds for _, seconds in HIDES.values())
MOST_TURNS = 20  # how often one visitor may change his mind about one ad


@dataclass(frozen=True, slots=True)
class Said:
    """One press of a button. `at` is in seconds since 1970, `visitor` empty without consent."""

    decision_id: str
    kind: str
    turn: int
    is_given: bool
    visitor: str
    line_item_id: int
    advertiser_id: int
    at: float

    @property
    def field(self) -> bytes:
        letter = HIDES[self.kind][0]
        return b"%b:%d" % (letter, self.advertiser_id if letter == b"a" else self.line_item_id)

    @property
    def until(self) -> int:
        return int(self.at) + HIDES[self.kind][1]


def hide_key(pseudonym: str) -> str:
    """The hash of what a visitor asked not to see."""
    return f"hide:{pseudonym}"


def said_key(decision_id: str) -> str:
    """The hash of what holds of one decision."""
    return f"said:{decision_id}"


def write(client: Any, said: Iterable[Said]) -> None:
    """Make it hold, unless something later holds already. Writing the same again changes nothing."""
    for one in said:
        known = client.hget(said_key(one.decision_id), one.kind)
        if known is not None and int(known.split()[0]) > one.turn:
            continue
        with client.pipeline(transaction=True) as pipe:
            pipe.hset(said_key(one.decision_id), one.kind, b"%d %d" % (one.turn, one.is_given))
            pipe.expire(said_key(one.decision_id), LONGEST_SECONDS)
            if one.visitor and one.kind in HIDES:
                _hide(pipe, one)
            pipe.execute()


def _hide(pipe: Any, one: Said) -> None:
    key = hide_key(one.visitor)
    if one.is_given:
        pipe.hset(key, one.field, one.until)
        pipe.expire(key, LONGEST_SECONDS)
    else:
        pipe.hdel(key, one.field)


def holding(client: Any, decision_id: str) -> dict[str, tuple[int, bool]]:
    """What was last said of this decision: (turn, whether it holds) by kind."""
    fields: Mapping[bytes, bytes] = client.hgetall(said_key(decision_id))
    words = {kind.decode(): value.split() for kind, value in fields.items()}
    return {kind: (int(turn), given == b"1") for kind, (turn, given) in words.items()}


def hidden_from(fields: Mapping[bytes, bytes], at: float) -> tuple[frozenset[int], frozenset[int]]:
    """(line items, advertisers) that are hidden at a moment."""
    line_items: list[int] = []
    advertisers: list[int] = []
    for field, until in fields.items():
        if int(until) > at:
            letter, _, id = field.partition(b":")
            (advertisers if letter == b"a" else line_items).append(int(id))
    return frozenset(line_items), frozenset(advertisers)
