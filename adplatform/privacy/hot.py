"""What the two Valkeys hold of one visitor, beside what is on its way into the database."""

from __future__ import annotations

from typing import cast

import redis
from django.conf import settings
from msgspec import DecodeError

from adplatform.audience import erasures
from adplatform.events import dead_letters
from adplatform.events.forgotten import anonymous, visitor_of
from adplatform.events.records import pack, unpack
from adplatform.events.stream import FIELD, connect
from adplatform.learning.hidden import hide_key
from adplatform.learning.statistics import visitor_key

CAP_KEY = "cap:{}"  # serving.counters, which lies above: impressions by cap and ads that are held
MEANING = {
    "visitor": "Counts of ads shown and clicked, and the vector of what you read lately",
    "cap": "How often ads were shown to you, so that none is shown too often",
    "hide": "Ads and advertisers that you asked not to see",
}


def hot() -> redis.Redis:
    return connect(settings.REDIS_URL, timeout_seconds=5.0)


def keys_of(pseudonym: str) -> dict[str, str]:
    return {
        "visitor": visitor_key(pseudonym),
        "cap": CAP_KEY.format(pseudonym),
        "hide": hide_key(pseudonym),
    }


def read(pseudonym: str) -> dict[str, dict[str, str]]:
    """The fields of each key that exists; bytes that are no text in hexadecimal digits."""
    client = hot()
    found: dict[str, dict[bytes, bytes]] = {
        name: cast("dict[bytes, bytes]", client.hgetall(key)) for name, key in keys_of(pseudonym).items()
    }
    return {
        name: {_words(field): _words(value) for field, value in fields.items()}
        for name, fields in found.items()
        if fields
    }


def forget(pseudonym: str) -> int:
    """Delete the keys, and the visitor out of events that could not be stored; returns how many held him."""
    return hot().delete(*keys_of(pseudonym).values()) + _clean_dead_letters(pseudonym)


def erased_pseudonyms(subjects: set[str]) -> set[str]:
    """Of visitors with keys here those whose erasure is in the log: a process may have counted an ad of theirs late."""
    if not subjects:
        return set()
    found: set[str] = set()
    client = hot()
    for pattern in keys_of("*").values():
        for key in client.scan_iter(match=pattern, count=1_000):
            name = key.decode().partition(":")[2]
            if erasures.subject_of(name) in subjects:
                found.add(name)
    return found


def _clean_dead_letters(pseudonym: str) -> int:
    client = connect(settings.EVENTS_URL, timeout_seconds=5.0)
    cleaned = 0
    for letter in list(dead_letters.waiting(client)):
        try:
            record = unpack(letter.packed)
        except DecodeError:
            continue  # nobody can say whose it is; it goes with its age
        if visitor_of(record) != pseudonym:
            continue
        with client.pipeline(transaction=True) as pipe:
            pipe.xadd(
                dead_letters.DEAD_LETTERS,
                {FIELD: pack(anonymous(record)), b"error": letter.error.encode()},
            )
            pipe.xdel(dead_letters.DEAD_LETTERS, letter.entry_id)
            pipe.execute()
        cleaned += 1
    return cleaned


def _words(value: bytes) -> str:
    text = value.decode("ascii", errors="replace")
    return text if text.isprintable() and text.isascii() else value.hex()
