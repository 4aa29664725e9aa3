"""The peers' own environment, var/bench/venv: `python -m bench.ctr.environment` makes it, 1.5 GB once.

Peers' packages never enter the platform's environment. A stamp holds the hash of the requirement files.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "bench" / "peers"
LISTS = (PEERS / "requirements.txt", PEERS / "requirements-alone.txt")


def home() -> Path:
    """The folder of everything that the benchmark makes."""
    return Path(os.environ.get("ADPLATFORM_VAR") or ROOT / "var") / "bench"


def provide() -> Path:
    """The environment's Python, made where it is missing or old; SystemExit says in one line why it cannot be."""
    venv = home() / "venv"
    python, stamp = venv / "bin" / "python", venv / "installed"
    state = hashlib.sha256(b"".join(path.read_bytes() for path in LISTS)).hexdigest()
    if stamp.exists() and stamp.read_text() == state:
        return python
    print("Installing the peers of bench.ctr …", file=sys.stderr)
    _run([sys.executable, "-m", "venv", str(venv)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "-r", str(LISTS[0])])
    _run([*pip, "--no-deps", "-r", str(LISTS[1])])
    _provide_openmp(venv, python)
    stamp.write_text(state)
    return python


def _provide_openmp(venv: Path, python: Path) -> None:
    """LightGBM expects the system's OpenMP; where there is none, torch's copy is loaded at every start."""
    if subprocess.run([python, "-c", "import lightgbm"], capture_output=True, check=False).returncode == 0:
        return
    carried = next(venv.glob("lib/python3*/site-packages/torch/lib/libgomp.so.1"))
    (carried.parents[2] / "bench-openmp.pth").write_text(f"import ctypes; ctypes.CDLL({str(carried)!r})\n")


def _run(command: list[str]) -> None:
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise SystemExit("the peers' environment could not be made: the reason is above")


if __name__ == "__main__":
    print(provide())
