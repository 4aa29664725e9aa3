"""Where an event came from, told apart and not told: a hash of its network and address under a key that is lost.

The key is drawn once a day, shared by all servers through the events Valkey, and expires there after two days; then
nobody, we included, can find out which address a hash stands for, nor hold one day's against another's. No Django here.
"""

from __future__ import annotations

import os
import time
from datetime import date, datetime
from functools import cache
from hashlib import blake2b
from ipaddress import ip_address

import redis

from adplatform import settings
from adplatform.events.stream import connect

KEY = "origin-key:{}"
KEY_SECONDS = 2 * 86_400
_REST_SECONDS = 1.0  # after a failure, how long no event waits for the key
_PART = 4  # bytes of a hash for the network, and for the address in it
_NETWORK = {4: 3, 16: 6}  # bytes that name the network, by bytes of the address


@cache
def shared() -> Origins:
    """The process's own, made by the first event: after a fork, never before."""
    return Origins(connect(settings.EVENTS_URL))


class Origins:
    """The hash of an address on its day. Empty while Valkey has not told today's key."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._day = date.min
        self._key = b""
        self._rest_until = 0.0

    def of(self, address: str, at: datetime) -> bytes:
        """8 bytes: the first 4 are the same for a whole network (IPv4 /24, IPv6 /48)."""
        try:
            packed = ip_address(address).packed
        except ValueError:
            return b""
        if not (key := self._key_of(at.date())):
            return b""
        return _hash(key, packed[: _NETWORK[len(packed)]]) + _hash(key, packed)

    def _key_of(self, day: date) -> bytes:
        if day != self._day:
            if time.monotonic() < self._rest_until:
                return b""
            name = KEY.format(day.isoformat())
            try:
                self._client.set(name, os.urandom(32), nx=True, ex=KEY_SECONDS)
                found = self._client.get(name)
            except (redis.RedisError, OSError):
                self._rest_until = time.monotonic() + _REST_SECONDS
                return b""
            self._day, self._key = day, found if isinstance(found, bytes) else b""
        return self._key


def _hash(key: bytes, packed: bytes) -> bytes:
    return blake2b(packed, digest_size=_PART, key=key).digest()
