#!/usr/bin/env python3
"""Find a Chromium for the browser tests, or install Debian's when we may; else say what to do.

Standard library only. Prints nothing when one is there already; with --find it prints the path and installs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find() -> str | None:
    """Path of a Chromium: CHROMIUM, one on the path, or one that Playwright downloaded."""
    chosen = os.environ.get("CHROMIUM")
    if chosen and os.access(chosen, os.X_OK):
        return chosen
    for name in NAMES:
        if path := shutil.which(name):
            return path
    home = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next(
        (str(path) for path in sorted(home.glob("chromium-*/chrome-linux*/chrome"), reverse=True)), None
    )


def main() -> int:
    """Exit status 0 when a Chromium is there at the end."""
    found = find()
    if "--find" in sys.argv[1:]:
        print(found or "no Chromium found")
        return 0 if found else 1
    if found:
        return 0
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(
            "adplatform: no Chromium found: install one (Debian: apt-get install chromium) or name it in CHROMIUM",
            file=sys.stderr,
        )
        return 1
    print("Installing Chromium …", flush=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt_get = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    for step in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        if subprocess.run(
            [*apt_get, *step], env=quiet, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        ).returncode:
            print("adplatform: apt-get could not install chromium: its own message is above", file=sys.stderr)
            return 1
    return 0 if find() else 1


if __name__ == "__main__":
    sys.exit(main())
