"""The blender as the ads process runs it: onnxruntime and numpy, nothing else.

One thread: a decision has some fifty candidates, and requests are what runs in parallel.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.ctr.features import SCHEMA
from ml.schema import Floats, Vectors

KIND = "blender"
TREES, LEVEL = "blender.onnx", "level.json"


class CompiledBlender:
    """Trees and level of one verified folder; `predict` gives calibrated click probabilities."""

    def __init__(self, trees: bytes, *, factor: float, version: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            trees, sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._log_factor = float(np.log(factor))
        self.version = version

    @classmethod
    def load(cls, folder: Path | str) -> CompiledBlender:
        """Check every file and the feature schema, then load what was checked."""
        manifest = artifacts.verify(folder, kind=KIND, schema=SCHEMA)
        level = json.loads(artifacts.read(folder, manifest, LEVEL))
        return cls(
            artifacts.read(folder, manifest, TREES),
            factor=float(level["factor"]),
            version=manifest.version,
        )

    def predict(self, X: Vectors) -> Floats:
        """pCTR of each feature row (ml.ctr.features.build), level included."""
        log_odds = self._session.run(None, {"features": X})[0][:, 0].astype(np.float64)
        probabilities: Floats = 1 / (1 + np.exp(-(log_odds + self._log_factor)))
        return probabilities
