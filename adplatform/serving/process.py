"""The process's own server, which every endpoint asks. No Django here."""

from __future__ import annotations

import threading
from multiprocessing.util import Finalize

from .server import Server

_server: Server | None = None
_lock = threading.Lock()


def server() -> Server:
    """Started by the first request: after a fork, never before."""
    global _server  # noqa: PLW0603 - one per process
    if _server is None:
        with _lock:
            if _server is None:
                started = Server.from_settings()
                started.start()
                # A clean stop loses no decision. granian's workers are multiprocessing's children, which skip atexit.
                Finalize(None, started.close, exitpriority=10)
                _server = started
    return _server


def started() -> Server | None:
    """The server, if there was a request yet."""
    return _server
