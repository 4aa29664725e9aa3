"""The blender as the ads process runs it: onnxruntime and numpy, nothing else.

One thread: a decision has some fifty candidates, and requests are what runs in parallel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.ctr.calibration import Calibration
from ml.ctr.features import SCHEMA
from ml.schema import Floats, Ints, Vectors

KIND = "blender"
TREES = "blender.onnx"


class CompiledBlender:
    """Trees and calibration of one verified folder; `predict` gives calibrated click probabilities."""

    def __init__(self, trees: bytes, *, calibration: Calibration, version: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            trees, sess_options=options, providers=["CPUExecutionProvider"]
        )
        self.calibration = calibration
        self.version = version

    @classmethod
    def load(cls, folder: Path | str) -> CompiledBlender:
        """Check every file and the feature schema, then load what was checked."""
        manifest = artifacts.verify(folder, kind=KIND, schema=SCHEMA)
        return cls(
            artifacts.read(folder, manifest, TREES),
            calibration=Calibration.read(folder, manifest),
            version=manifest.version,
        )

    def predict(self, X: Vectors, *, campaign: Ints | None = None, slot: Ints | int | None = None) -> Floats:
        """pCTR of each feature row (ml.ctr.features.build), calibrated; campaigns and slots matter only to segments."""
        return self.calibration.probabilities(self.log_odds(X), campaign=campaign, slot=slot)

    def log_odds(self, X: Vectors) -> Floats:
        """What the trees say, before it is calibrated."""
        found: Floats = self._session.run(None, {"features": X})[0][:, 0].astype(np.float64)
        return found
