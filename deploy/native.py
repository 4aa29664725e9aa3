#!/usr/bin/env python3
"""Compile the loops of a decision (`kernels.c` in adplatform/decision and ml) with this machine's C compiler.

    .venv/bin/python deploy/native.py

Each becomes kernels-{hash of the source}.so beside its source, where its package looks for it; without one the package does
the same with numpy, at 1.4 to 1.7 times the CPU. Exit status 1 and one line on stderr where a compiler or Python's headers are
missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (ROOT / "adplatform" / "decision" / "kernels.c", ROOT / "ml" / "kernels.c")
# No instructions of this machine alone and no reordering of sums: a decision replays to the bit on every machine.
FLAGS = ("-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")


def main() -> int:
    try:
        for source in SOURCES:
            build(source)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


class BuildError(Exception):
    """The machine lacks something, or the compiler refused."""


def build(source: Path) -> None:
    """Compile one source, unless that was done before; what older sources became is removed."""
    target = source.with_name(f"{source.stem}-{sha256(source.read_bytes()).hexdigest()[:12]}.so")
    if target.exists():
        return
    compiler = next(filter(shutil.which, (os.environ.get("CC", ""), "cc", "gcc", "clang")), None)
    if compiler is None:
        raise BuildError(
            "no C compiler (Debian: apt-get install gcc): decisions run on numpy alone, at some 1.6 times the CPU"
        )
    headers = sysconfig.get_paths()["include"]
    if not (Path(headers) / "Python.h").exists():
        raise BuildError(
            "Python's headers are missing (Debian: apt-get install python3-dev): decisions run on numpy alone, at some 1.6 times the CPU"
        )
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        draft = Path(folder) / target.name
        paths = (f"-I{headers}", f"-I{ROOT / 'deploy'}")
        command = [compiler, *FLAGS, *paths, str(source), "-o", str(draft), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"{source.name} could not be compiled: {done.stderr.strip()}")
        for older in source.parent.glob(f"{source.stem}-*.so"):
            older.unlink()
        draft.replace(target)


if __name__ == "__main__":
    sys.exit(main())
