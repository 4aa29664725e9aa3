"""Many who ask without pause: a paced closed loop over plain sockets, cheap enough to offer more than a platform takes."""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Flood:
    """What came of it. `seconds_by`: times to answer by what the answer was: `shed`, `decided`, or its status."""

    clients: int
    offered: int = 0
    broken: int = 0
    seconds_by: dict[str, list[float]] = field(default_factory=dict)

    def run(self, port: int, request: bytes, *, rate: float, seconds: float) -> Flood:
        """`rate` requests a second at most, never more under way than there are clients."""
        started, until = time.monotonic(), time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            idle = [self._connected(selector, port) for _ in range(self.clients)]
            while (now := time.monotonic()) < until:
                while idle and self.offered < (now - started) * rate:
                    one = idle.pop()
                    one.sendall(request)
                    selector.modify(one, selectors.EVENT_READ, time.perf_counter())
                    self.offered += 1
                for key, _ in selector.select(0.002):
                    idle.append(self._answered(selector, key, port))
            for key in list(selector.get_map().values()):
                key.fileobj.close()
        return self

    def percentile(self, what: str, percent: float) -> float:
        """Milliseconds."""
        return float(np.percentile(self.seconds_by.get(what, [0.0]), percent)) * 1000

    def counts(self) -> Counter[str]:
        return Counter({what: len(seconds) for what, seconds in self.seconds_by.items()})

    def _answered(
        self, selector: selectors.BaseSelector, key: selectors.SelectorKey, port: int
    ) -> socket.socket:
        """The connection that may be used again; another in its place where it broke."""
        one = key.fileobj
        try:
            data = one.recv(262_144)
            while data and not _is_whole(data):
                data += one.recv(262_144)
        except OSError:
            data = b""
        if not data:
            self.broken += 1
            selector.unregister(one)
            one.close()
            return self._connected(selector, port)
        what = (
            "shed" if b'"mode":"shed"' in data else "decided" if data[9:12] == b"200" else data[9:12].decode()
        )
        self.seconds_by.setdefault(what, []).append(time.perf_counter() - key.data)
        return one

    @staticmethod
    def _connected(selector: selectors.BaseSelector, port: int) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", port), timeout=10)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(one, selectors.EVENT_READ, 0.0)
        return one


def _is_whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"content-length: ")
    return bool(found) and len(body) >= int(length.split(b"\r\n")[0] or 0)
