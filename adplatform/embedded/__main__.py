"""`python -m adplatform.embedded COMMAND…`: run a command with the servers up and their URLs in its environment.

``stop`` stops servers that a killed process left behind; ``clean`` also removes all that they stored.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from adplatform import embedded
from adplatform.embedded.places import Refused, var_dir


def main(arguments: list[str]) -> int:
    """Exit status of the command, 1 when the servers cannot run or be stopped, 2 on bad usage."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        if arguments in (["stop"], ["clean"]):
            return _stop(clean=arguments == ["clean"])
        environment = os.environ | embedded.ensure()
    except Refused as refused:
        print(f"adplatform: {refused}", file=sys.stderr)
        return 1
    return subprocess.run(arguments, env=environment, check=False).returncode


def _stop(*, clean: bool) -> int:
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
