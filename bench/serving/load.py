"""A real server under granian and a load over loopback: closed loop for what it can do, open loop for how long one waits.

In the open loop requests come at fixed moments whatever the server does, and a request's time counts from its moment,
so that a stall is felt by all who come meanwhile (no coordinated omission).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from adplatform.embedded import net

ROOT = Path(__file__).resolve().parents[2]
HELLO = (
    "def application(environ, start_response):\n"
    "    environ['wsgi.input'].read()\n"
    "    start_response('200 OK', [('Content-Length', '2')])\n    return (b'ok',)\n"
)
READY_SECONDS = 120.0

Request = Callable[[], bytes]  # a whole HTTP request


@dataclass(frozen=True)
class Load:
    """What a load met: `cpu_us` of the server per request, waiting times, answers other than expected."""

    requests: int
    seconds: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True)
class Target:
    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self.everyone())

    def everyone(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def private_mb(self) -> list[float]:
        """Memory of each worker that it shares with nobody."""
        own = [one.memory_full_info().uss / 2**20 for one in self.process.children(recursive=True)]
        return sorted(own, reverse=True)


@contextmanager
def granian(target: str, folder: Path, environment: dict[str, str], *, workers: int = 1) -> Iterator[Target]:
    """A WSGI application served as `up` serves the ads role."""
    port = net.free_port(set())
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    options = [
        "--workers",
        str(workers),
        "--blocking-threads",
        "1",
        "--backpressure",
        "256",
        "--no-ws",
        target,
    ]
    paths = f"{folder}{os.pathsep}{ROOT}"
    server = subprocess.Popen(
        [*command, *options], cwd=ROOT, env={**environment, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not net.listening(port):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{target} did not start")
            time.sleep(0.05)
        yield Target(port, psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait(timeout=10)


def post(body: bytes) -> bytes:
    head = (
        "POST /v1/decisions HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n\r\n".encode()


def closed_loop(target: Target, make: Request, *, seconds: float, clients: int, status: int = 200) -> Load:
    """Each client asks again as soon as it is answered."""
    _once(target, make(), status)  # a server starts its snapshot with the first request

    def client(_: int, until: float) -> tuple[list[float], int]:
        took, errors = [], 0
        with connected(target.port) as connection:
            while time.monotonic() < until:
                started = time.perf_counter()
                errors += not _answered(connection, make(), status)
                took.append(time.perf_counter() - started)
        return took, errors

    return _measured(target, client, seconds=seconds, clients=clients)


def open_loop(
    target: Target, make: Request, *, rate: float, seconds: float, clients: int = 8, status: int = 200
) -> Load:
    """`rate` requests a second, at moments that do not wait for answers."""
    _once(target, make(), status)
    began = time.monotonic() + 0.05

    def client(number: int, until: float) -> tuple[list[float], int]:
        took, errors, due = [], 0, began + number / rate
        with connected(target.port) as connection:
            while due < until:
                time.sleep(max(0.0, due - time.monotonic()))
                errors += not _answered(connection, make(), status)
                took.append(time.monotonic() - due)
                due += clients / rate
        return took, errors

    return _measured(target, client, seconds=seconds, clients=clients)


def _measured(
    target: Target, client: Callable[[int, float], tuple[list[float], int]], *, seconds: float, clients: int
) -> Load:
    results: list[tuple[list[float], int]] = [([], 0)] * clients
    before, started = target.cpu_seconds(), time.monotonic()

    def run(number: int) -> None:
        results[number] = client(number, started + seconds)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, used = time.monotonic() - started, target.cpu_seconds() - before
    took = np.array([value for values, _ in results for value in values]) * 1000
    p50, p99 = np.percentile(took, [50, 99])
    errors = sum(count for _, count in results)
    return Load(len(took), wall, used / len(took) * 1e6, float(p50), float(p99), errors)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def _once(target: Target, request: bytes, status: int) -> None:
    with connected(target.port) as connection:
        _answered(connection, request, status)


def _answered(connection: socket.socket, request: bytes, status: int) -> bool:
    return exchange(connection, request)[0] == status


def exchange(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """(status, body) of one request over an open connection."""
    connection.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            raise ConnectionError("the server hung up")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    _, found, length = head.lower().partition(b"content-length:")
    wanted = int(length.split(b"\r\n")[0]) if found else 0
    while len(rest) < wanted:
        rest += connection.recv(65_536)
    return int(head[9:12]), rest
