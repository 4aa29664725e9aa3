"""`manage.py up`: the whole platform on this machine until Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform import embedded
from adplatform.core import processes, supervisor
from adplatform.embedded import preflight

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
SERVERS_LOOK_SECONDS = 2.0
READY_SECONDS = 90.0


class Stop(Exception):  # noqa: N818 - a request, not an error
    """Ctrl-C or SIGTERM."""


class Command(BaseCommand):
    help = "Serve pages and ads and run workers, schedules, ingest and publisher until Ctrl-C."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT, help="pages (default %(default)s)")
        parser.add_argument(
            "--ads-port", type=int, default=settings.ADS_PORT, help="ads (default %(default)s)"
        )

    def handle(self, *_: Any, port: int, ads_port: int, **__: Any) -> None:
        folder = embedded.var_dir()
        try:
            with _only_one(), _signals_stop():
                supervisor.end_leftovers(folder)
                preflight.check_room()
                preflight.check_ports(port, ads_port)
                environment = processes.environment(
                    os.environ, embedded.ensure(), port=port, ads_port=ads_port
                )
                platform = supervisor.Supervisor(
                    processes.specs(port=port, ads_port=ads_port), folder, environment
                )
                self._serve(platform, port, ads_port)
        except embedded.LaunchError as error:
            raise CommandError(str(error)) from None
        except Stop:
            return

    def _serve(self, platform: supervisor.Supervisor, port: int, ads_port: int) -> None:
        try:
            (embedded.var_dir() / "run" / "serving.json").write_text(
                json.dumps({"port": port, "ads_port": ads_port})
            )
            platform.start()
            self._wait_until_ready(platform, {"pages": port, "ads": ads_port})
            self.stdout.write(
                f"AdPlatform serves pages at http://localhost:{port} and ads at http://localhost:{ads_port} (Ctrl-C stops it)"
            )
            _watch(platform)
        finally:
            # A second Ctrl-C must not interrupt the stop half-way; every stage of it has its own time limit.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            platform.stop()

    def _wait_until_ready(self, platform: supervisor.Supervisor, ports: dict[str, int]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        for name, port in ports.items():
            while not _answers(port):
                platform.tend()
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"{name} did not answer within {READY_SECONDS:.0f} s: see {embedded.var_dir()}/log/{name}.log"
                    )
                time.sleep(LOOK_SECONDS)


def _watch(platform: supervisor.Supervisor) -> None:
    """Tend the children, and the embedded servers under them, until a signal raises `Stop`."""
    next_look = 0.0
    while True:
        platform.tend()
        if time.monotonic() >= next_look:
            if not all(embedded.running().values()):
                log.warning("restarted after it died: %s", ", ".join(embedded.repair()))
            next_look = time.monotonic() + SERVERS_LOOK_SECONDS
        time.sleep(LOOK_SECONDS)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _only_one() -> Iterator[None]:
    """One platform per var/: the lock ends with the process, the file tells others its id."""
    preflight.check_alone()
    with (embedded.var_dir() / "run" / "up.pid").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


@contextmanager
def _signals_stop() -> Iterator[None]:
    def stop(_number: int, _frame: object) -> None:
        raise Stop

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        yield
    finally:
        sys.stdout.flush()
