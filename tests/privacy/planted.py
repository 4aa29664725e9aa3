"""Personal values that a test plants, and the search for them in everything that is kept."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

import redis

from tests.billing.test_backup import program, url

EMAILS = [f"planted.reader{n}@mail.example" for n in range(7)]
NAMES = [f"Planted-Person-{letter}" for letter in "ABCDEFG"]
NETWORK = [f"198.51.100.{n}" for n in (201, 202, 203)]
STREETS = [f"Lindenstraße 4{n}" for n in range(3)]
ADDRESSES = NETWORK + STREETS
PLANTED = EMAILS + NAMES + ADDRESSES


def database(name: str) -> bytes:
    """Every row, as a dump writes it."""
    command = [program("pg_dump"), "--data-only", "--enable-row-security", url(name)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def valkey(client: redis.Redis) -> bytes:
    """Every key with its value as Valkey itself would write it."""
    parts = []
    for key in client.scan_iter():
        parts += [key, client.dump(key) or b""]
        if client.type(key) == b"stream":  # a dump compresses: read the entries as they are
            parts += [b"".join(fields.values()) for _, fields in client.xrange(key)]
        if client.type(key) == b"hash":
            parts += [piece for pair in client.hgetall(key).items() for piece in pair]
        if client.type(key) == b"list":
            parts += client.lrange(key, 0, -1)
    return b"\n".join(parts)


def files(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def found(stores: Mapping[str, bytes], planted: Iterable[str] = tuple(PLANTED)) -> set[tuple[str, str]]:
    """(store, value) of each value that stands somewhere, as it is or as addresses and forms write it."""
    return {
        (where, value)
        for where, data in stores.items()
        for value in planted
        for form in {value, quote(value), quote_plus(value)}
        if form.lower().encode() in data.lower()
    }
