"""`python -m adplatform.embedded COMMAND…`: keep the servers up while a command runs.

With ``--export`` before the command, its environment also names them (DATABASE_URL, REDIS_URL, EVENTS_URL).
``stop`` stops servers that a killed process left behind; ``clean`` also removes all that they stored.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from adplatform import embedded
from adplatform.embedded import preflight, servers
from adplatform.embedded.places import LaunchError, var_dir


def main(arguments: list[str]) -> int:
    """Exit status of the command, 1 when the servers cannot run or be stopped, 2 on bad usage."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(__doc__, file=sys.stderr)
        return 0 if arguments else 2
    try:
        if arguments in (["stop"], ["clean"]):
            return _stop(clean=arguments == ["clean"])
        addresses = embedded.ensure()
    except LaunchError as error:
        print(f"adplatform: {error}", file=sys.stderr)
        return 1
    if arguments[0] == "--export":
        return _run(arguments[1:], os.environ | addresses)
    return _run(arguments, dict(os.environ))


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run the command and outlive it: the servers must stay until it has stopped by itself."""
    process = subprocess.Popen(command, env=environment)
    signal.signal(
        signal.SIGINT, lambda _number, _frame: None
    )  # the terminal sends Ctrl-C to the command as well
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: process.send_signal(caught))
    return process.wait()


def _stop(*, clean: bool) -> int:
    """Only the embedded servers are ours to stop, whatever services this shell points at."""
    for name in servers.URL_NAMES:
        os.environ.pop(name, None)
    if clean:
        preflight.check_alone()
    for var in _var_folders():
        os.environ["ADPLATFORM_VAR"] = str(var)
        if not embedded.stop():
            print(
                f"adplatform: another process still uses the servers of {var}: stop it first", file=sys.stderr
            )
            return 1
        if clean:
            _remove_outside(var)
    if clean:
        shutil.rmtree(_var_folders()[-1], ignore_errors=False)
    return 0


def _var_folders() -> list[Path]:
    """The tests' folders inside var/, then var/ itself."""
    var = var_dir()
    return [path.parent for path in sorted(var.glob("*/state-dir"))] + [var]


def _remove_outside(var: Path) -> None:
    """Remove the recorded folders outside var/; only those that say themselves that they belong to it."""
    for record in ("state-dir", "socket-dir"):
        if not (var / record).exists():
            continue
        folder = Path((var / record).read_text().strip())
        origin = folder / "origin"
        if origin.exists() and origin.read_text().strip() == str(var):
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
