"""A local file that holds events while the stream is away: appended, fsynced, replayed later.

Each process writes a file of its own and holds a lock on it; whoever replays takes only files that nobody locks,
so that what a dead process left behind is replayed by the living. A record is length, CRC-32, bytes: a torn tail,
which was never acknowledged, is recognised and ignored. No Django here.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct("<II")
DEFAULT_LIMIT_BYTES = 256 * 1024 * 1024
_BATCH = 1000


class SpoolFullError(OSError):
    """The spool holds as much as it may, or its disk refuses more."""


class Spool:
    """Events on this machine's disk, at most `limit_bytes` of them over all processes' files."""

    def __init__(self, folder: Path, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()
        self._number = 0

    def append(self, packed: bytes) -> None:
        """Durable when it returns; SpoolFullError otherwise, and then nothing of the record stays."""
        with self._lock:
            if self.size() + len(packed) + _HEAD.size > self.limit_bytes:
                raise SpoolFullError("the spool is full")
            try:
                self._write(_HEAD.pack(len(packed), zlib.crc32(packed)) + packed)
            except OSError as error:
                raise SpoolFullError(str(error)) from error

    def size(self) -> int:
        """Bytes in all files of the folder."""
        if not self.folder.exists():
            return 0
        return sum(path.stat().st_size for path in self.folder.glob("*.spool"))

    def waiting(self) -> Iterator[bytes]:
        """Every record in all files, which stay as they are."""
        for path in sorted(self.folder.glob("*.spool")) if self.folder.exists() else ():
            with suppress(FileNotFoundError):  # replayed meanwhile: it is on the stream now
                yield from _records(path.read_bytes())

    def replay(self, store: Callable[[Sequence[bytes]], None]) -> int:
        """Hand every waiting record to `store` and remove what it took; returns how many. An error of `store` leaves
        the file for later: records may then be handed over twice, which ingest does not mind."""
        self.close()
        count = 0
        for path in sorted(self.folder.glob("*.spool")) if self.folder.exists() else ():
            count += _replay_file(path, store)
        return count

    def close(self) -> None:
        """Give up the own file, so that anybody may replay it; the next append opens another."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, framed: bytes) -> None:
        file = self._file or self._open()
        start = os.lseek(file.fileno(), 0, os.SEEK_END)
        try:
            if os.write(file.fileno(), framed) != len(framed):
                raise OSError("the disk took only a part")
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), start)
            raise

    def _open(self) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        self._file = (self.folder / f"{os.getpid()}-{self._number:06d}.spool").open("ab", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self._file


def _replay_file(path: Path, store: Callable[[Sequence[bytes]], None]) -> int:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # its writer, or another replayer, is alive
        records = list(_records(file.read()))
        for first in range(0, len(records), _BATCH):
            store(records[first : first + _BATCH])
        path.unlink(missing_ok=True)
    return len(records)


def _records(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        packed = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(packed) < length or zlib.crc32(packed) != checksum:
            return
        yield packed
        at += _HEAD.size + length
