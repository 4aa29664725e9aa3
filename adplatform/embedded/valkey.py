"""A local Valkey (or Redis): append-only file, nothing evicted, a password on loopback TCP."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess

from adplatform.embedded import net
from adplatform.embedded.places import LaunchError, Places, secret, write_private

START_SECONDS = 60
STOP_SECONDS = 20
# Without a limit noeviction would let a runaway key set take the whole machine.
MEMORY = "1gb"
SETTINGS = """\
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
daemonize yes
pidfile "{folder}/valkey.pid"
logfile "{folder}/valkey.log"
dir "{folder}"
databases 16
save ""
appendonly yes
appendfsync {fsync}
maxmemory {memory}
maxmemory-policy noeviction
tcp-keepalive 60
"""


class Valkey:
    """One instance under ``state/NAME``; ``fsync`` is "always" where a lost second would be lost money."""

    def __init__(self, places: Places, name: str, port: int, *, fsync: str) -> None:
        self.places = places
        self.port = port
        self.fsync = fsync
        self.folder = places.state / name

    @property
    def url(self) -> str:
        return f"redis://:{secret('valkey')}@127.0.0.1:{self.port}/0"

    def running(self) -> bool:
        """Whether the recorded process is ours, which shows its port; a busy one that answers late still is."""
        pid_file = self.folder / "valkey.pid"
        return pid_file.exists() and f"127.0.0.1:{self.port}" in net.command_of(int(pid_file.read_text()))

    def start(self) -> None:
        """Start it and wait until the append-only file is loaded."""
        owner = self.places.owner
        self.folder.mkdir(exist_ok=True, mode=0o700)
        owner.give(self.folder)
        memory = os.environ.get("ADPLATFORM_VALKEY_MEMORY") or MEMORY
        settings = SETTINGS.format(
            port=self.port, password=secret("valkey"), folder=self.folder, fsync=self.fsync, memory=memory
        )
        config = self.folder / "valkey.conf"
        write_private(config, settings, owner)
        net.rotate(self.folder / "valkey.log")
        with net.captured() as (out, _):
            started = subprocess.run(
                [str(self.places.valkey_binary), str(config)],
                cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, start_new_session=True,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, **owner.run_as(),
            )  # fmt: skip
            if started.returncode:
                raise LaunchError(
                    f"{self.places.valkey_binary} did not start: {' '.join(net.text_of(out).split())}"
                )
        if not net.wait_for(lambda: self._command("PING").startswith("+PONG"), START_SECONDS):
            raise LaunchError(f"Valkey ({self.folder.name}) does not answer: {self._last_log_line()}")

    def stop(self) -> None:
        """Flush the append-only file and exit; its pid file disappears last."""
        self._command("SHUTDOWN", "NOSAVE")
        pid_file = self.folder / "valkey.pid"
        if not net.wait_for(lambda: not pid_file.exists() and not net.listening(self.port), STOP_SECONDS):
            raise LaunchError(f"Valkey ({self.folder.name}) did not stop: {self._last_log_line()}")

    def _command(self, *words: str) -> str:
        """Send one command after the password and return the raw first line of its answer, empty if none came."""
        request = b"".join(_encoded(line) for line in (("AUTH", secret("valkey")), words))
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection,
        ):
            connection.sendall(request)
            with connection.makefile("rb") as answers:
                accepted = answers.readline()
                return answers.readline().decode().strip() if accepted.startswith(b"+OK") else ""
        return ""

    def _last_log_line(self) -> str:
        log = self.folder / "valkey.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return f"{lines[-1] if lines else 'it wrote no log'} (log: {log})"


def _encoded(words: tuple[str, ...]) -> bytes:
    """A command in the Redis protocol."""
    parts = [f"*{len(words)}\r\n", *(f"${len(word.encode())}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()
