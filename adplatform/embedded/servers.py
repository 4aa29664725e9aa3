"""Start the servers that no URL replaces, share them between processes, stop them when the last user leaves.

Every process that calls `ensure` holds a shared lock on ``var/run/servers.users``. On its way out it tries to make
that lock exclusive: who succeeds is the last one and stops the servers. A killed process loses its lock with its life.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from adplatform.embedded import net, preflight
from adplatform.embedded.places import Places, find, run_dir, var_dir, write_private
from adplatform.embedded.postgres import Postgres
from adplatform.embedded.valkey import Valkey

# Which environment variable replaces which server.
URL_NAMES = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey-hot", "EVENTS_URL": "valkey-events"}


class Server(Protocol):
    """What the launcher asks of each embedded server."""

    @property
    def url(self) -> str: ...
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class _Lease:
    """This process's share in the running servers."""

    def __init__(self) -> None:
        self.users: IO[str] | None = None
        self.pid = 0


_lease = _Lease()


def urls() -> dict[str, str]:
    """The addresses of all services: from the environment, else as recorded when the embedded ones were started."""
    path = run_dir() / "services.json"
    recorded: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    given = {name: os.environ[name] for name in URL_NAMES if os.environ.get(name)}
    return recorded | given


def wanted() -> dict[str, str]:
    """The embedded servers that no URL replaces, by the name of their variable."""
    return {name: server for name, server in URL_NAMES.items() if not os.environ.get(name)}


def ensure() -> dict[str, str]:
    """Start whatever is missing, keep it until this process ends, and return the addresses of all services."""
    if wanted():
        with _mutex():
            _join()
            _start_missing()
    return urls()


def repair() -> list[str]:
    """Start embedded servers that died under a running platform; the names of those that were started."""
    with _mutex():
        return _start_missing()


def running() -> dict[str, bool]:
    """Which of the wanted embedded servers run now; starts nothing."""
    if not wanted() or not _ports_path().exists():
        return dict.fromkeys(wanted().values(), False)
    return {name: server.running() for name, server in _servers(find()).items()}


def stop() -> bool:
    """Stop the embedded servers unless another process uses them; whether none runs any more."""
    with _mutex():
        return _stop_if_unused()


def _start_missing() -> list[str]:
    servers = _servers(find())
    missing = [name for name, server in servers.items() if not server.running()]
    if missing:
        preflight.check_disk(var_dir(), preflight.DISK_RUN)
        servers = _with_free_ports(servers, missing)
        for name in missing:
            servers[name].start()
    addresses = {url: servers[name].url for url, name in wanted().items()}
    write_private(run_dir() / "services.json", json.dumps(addresses, indent=1))
    return missing


def _servers(places: Places) -> dict[str, Server]:
    ports = _ports()
    every: dict[str, Server] = {
        "postgres": Postgres(places, ports["postgres"]),
        "valkey-hot": Valkey(places, "valkey-hot", ports["valkey-hot"], fsync="everysec"),
        "valkey-events": Valkey(places, "valkey-events", ports["valkey-events"], fsync="always"),
    }
    return {name: every[name] for name in wanted().values()}


def _with_free_ports(servers: dict[str, Server], missing: list[str]) -> dict[str, Server]:
    """Move a server whose recorded port a stranger has taken meanwhile; the others keep theirs."""
    ports = _ports()
    moved = [name for name in missing if not net.is_free(ports[name])]
    if not moved:
        return servers
    for name in moved:
        ports[name] = net.free_port(set(ports.values()))
    write_private(_ports_path(), json.dumps(ports))
    return _servers(find())


def _ports_path() -> Path:
    return var_dir() / "ports.json"


def _ports() -> dict[str, int]:
    """The loopback port of each server, chosen once."""
    path = _ports_path()
    if path.exists():
        recorded: dict[str, int] = json.loads(path.read_text())
        return recorded
    ports: dict[str, int] = {}
    for name in URL_NAMES.values():
        ports[name] = net.free_port(set(ports.values()))
    write_private(path, json.dumps(ports))
    return ports


@contextlib.contextmanager
def _mutex() -> Iterator[None]:
    """One process at a time starts or stops servers."""
    with (run_dir() / "servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _join() -> None:
    """Take a share, once per process, that is given back however the process ends."""
    if _lease.users and _lease.pid == os.getpid():
        return
    _lease.users = (run_dir() / "servers.users").open("w")
    _lease.pid = os.getpid()
    fcntl.flock(_lease.users, fcntl.LOCK_SH)
    atexit.register(_leave)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, lambda caught, _frame: sys.exit(128 + caught))


def _leave() -> None:
    """Stop the servers if nobody else uses them; a forked child leaves that to its parent."""
    if _lease.users is None or _lease.pid != os.getpid():
        return
    with _mutex():
        _stop_if_unused()
        _lease.users.close()
        _lease.users = None


def _stop_if_unused() -> bool:
    users = _lease.users or (run_dir() / "servers.users").open("w")
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if _ports_path().exists():
        for server in _servers(find()).values():
            if server.running():
                server.stop()
    return True
