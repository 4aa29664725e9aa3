"""Web processes of the platform, started as an operator starts them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adplatform.embedded import net

ROOT = Path(__file__).resolve().parents[1]
ADS, PAGES = "adplatform.serving.ads:application", "adplatform.wsgi:application"


@contextmanager
def web(
    role: str, environment: Mapping[str, str], *, port: int, threads: int = 2, log: BinaryIO | None = None
) -> Iterator[None]:
    """One process of a role (ADS, PAGES) on 127.0.0.1 that answers, until the block is left; all it says goes to `log`."""
    granian = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"]
    options = ["--port", str(port), "--workers", "1", "--blocking-threads", str(threads), "--no-ws"]
    server = subprocess.Popen(
        [*granian, *options, role],
        cwd=ROOT,
        env=dict(environment),
        stdout=log or subprocess.DEVNULL,
        stderr=log,
    )
    try:
        deadline = time.monotonic() + 60
        while not net.listening(port):
            assert server.poll() is None, f"{role} ended with {server.returncode}"
            assert time.monotonic() < deadline, f"{role} did not start"
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(timeout=10)
