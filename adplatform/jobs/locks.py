"""One process at a time for one job: a PostgreSQL advisory lock on a connection of its own.

The lock lives exactly as long as that connection, so a killed process frees it at once and a free lock proves that
a run marked as running is dead. It has its own connection because the job may close, break or pool the usual one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

# The first half of the lock's key; the second is the job's name. Other users of advisory locks take other numbers.
LOCK_CLASS = 0x4A4F42

# A peer that vanished without a word is noticed by the server after a minute, not after two hours.
_KEEPALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; SET idle_session_timeout = 0"


def lock_number(name: str) -> int:
    """A signed 32-bit number out of the job's name."""
    unsigned = zlib.crc32(name.encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


@contextmanager
def job_lock(name: str) -> Iterator[bool]:
    """Whether this process now holds the job; it does not wait."""
    own = connection.copy()
    try:
        with own.cursor() as cursor:
            cursor.execute(_KEEPALIVE)
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK_CLASS, lock_number(name)])
            row = cursor.fetchone()
        yield bool(row and row[0])
    finally:
        own.close()
