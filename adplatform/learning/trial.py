"""A blender is tried before it serves: first its hashes, then in a process of its own, which a bad file may kill.

What a hash cannot tell: LightGBM reads half a text file without a word, a false count in its head aborts the process,
a leaf may be NaN, trees may be too many. So the trial loads what serves (the compiled trees) and what was trained (the
text), scores the same fixed rows with both, and refuses what differs, is no number, or takes long. A blender that passed
is not tried again on this machine. Serving processes repeat the part that needs no LightGBM when they load a snapshot.

    python -m adplatform.learning.trial FOLDER

No Django here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.ctr.features import NAMES
from ml.ctr.runtime import CompiledBlender
from ml.schema import Floats, Vectors
from ml.value.conversion import ConversionModel

ROWS, SEED, TIMES = 50, 7, 3
MOST_SECONDS = 0.02  # of CPU for so many candidates; a usual blender takes some 0.2 ms
FARTHEST = 1e-4  # log odds between the two forms, whose sums are of float32 and float64
TRIAL_SECONDS = 60
_SPARED = ("pandas", "sklearn", "dask", "matplotlib", "pyarrow")
PASSED = ".passed"  # folder beside the kinds of models


class UnfitError(artifacts.ArtifactError):
    """Whole as a file, but not to be served from."""


def rows() -> Vectors:
    """The same feature rows at every trial, a tenth of their values missing."""
    rng = np.random.default_rng(SEED)
    X = rng.gamma(0.5, 4.0, size=(ROWS, len(NAMES))).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def check(blender: CompiledBlender) -> Floats:
    """Log odds of the fixed rows; UnfitError where they are no numbers or come too late."""
    X, seconds = rows(), []
    for _ in range(TIMES):
        started = time.thread_time()
        found = blender.log_odds(X)
        seconds.append(time.thread_time() - started)
    if not np.isfinite(found).all() or not np.isfinite(blender.predict(X)).all():
        raise UnfitError("the trees give values that are no numbers")
    if min(seconds) > MOST_SECONDS:
        raise UnfitError(f"the trees take {min(seconds) * 1000:.0f} ms for {ROWS} candidates")
    return found


def hold(folder: Path, *, passed: Path) -> None:
    """Try the blender of a verified folder in a process of its own, once; UnfitError says why it must not serve.

    `passed`: folder that remembers what passed.
    """
    mark = passed / _key(folder)
    if mark.exists():
        return
    command = [sys.executable, "-m", "adplatform.learning.trial", str(folder)]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=TRIAL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UnfitError(f"the trial did not end within {TRIAL_SECONDS} s") from None
    if tried.returncode:
        lines = tried.stderr.decode(errors="replace").strip().splitlines()
        raise UnfitError(lines[-1] if lines else f"the trial's process ended with {tried.returncode}")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _key(folder: Path) -> str:
    """Of these files under these libraries."""
    libraries = "-".join(metadata.version(name) for name in ("numpy", "lightgbm"))
    return f"{artifacts.verify(folder).version}-{libraries}"


def _compare(folder: Path) -> None:
    """What runs in the trial's process, which is spared what LightGBM can do without: four seconds of imports."""
    nothing: dict[str, Any] = dict.fromkeys(_SPARED)
    sys.modules.update(nothing)
    from ml.ctr.blender import FILE, Blender

    served = check(CompiledBlender.load(folder))
    ConversionModel.load(folder)
    if FILE not in artifacts.verify(folder).files:
        return
    apart = float(np.abs(served - Blender.load(folder).log_odds(rows())).max())
    if not apart <= FARTHEST:
        raise UnfitError(f"the compiled trees differ from the trained ones by {apart:.3g} in log odds")


def main(folder: str) -> int:
    try:
        _compare(Path(folder))
    except Exception as error:  # whatever it is, it is told in one line
        print(error if isinstance(error, UnfitError) else f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
