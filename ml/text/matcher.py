"""The bilinear matcher: how well a visitor's vector u fits a creative's vector v, as log odds uᵀWv + b.

Serving precomputes Wv for each creative (`project`), so that one score is one dot product.
Numpy only; training lives in ml.text.train.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.schema import Floats, Ints, Vectors

KIND = "matcher"
FILE = "matcher.safetensors"
CHUNK_ROWS = 65_536


class Matcher:
    """W of shape (du, dv), float32, and a bias. A text-only model has du = 1 and u = 1."""

    def __init__(self, W: Vectors, bias: float = 0.0, *, version: str = "") -> None:
        self.W = np.ascontiguousarray(W, dtype=np.float32)
        self.bias = float(bias)
        self.version = version

    def project(self, V: Vectors) -> Vectors:
        """Wv for each row of V, shape (n, du): what serving keeps per creative."""
        projected: Vectors = V @ self.W.T
        return projected

    def score(self, U: Vectors, V: Vectors) -> Floats:
        """Log odds of row i of U with row i of V, shape (n,)."""
        scores: Floats = np.einsum("nd,nd->n", U, self.project(V)).astype(np.float64)
        return scores + self.bias

    def score_all(self, U: Vectors, V: Vectors) -> Vectors:
        """Log odds of every row of U with every row of V, shape (len(U), len(V))."""
        scores: Vectors = U @ self.project(V).T
        return scores + np.float32(self.bias)

    def score_pairs(self, U: Vectors, V: Vectors, u_index: Ints, v_index: Ints) -> Floats:
        """Log odds of U[u_index[r]] with V[v_index[r]]; projects each row of V once, works in bounded memory."""
        projected = self.project(V)
        scores = np.empty(len(u_index))
        for start in range(0, len(u_index), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            scores[rows] = np.einsum("nd,nd->n", U[u_index[rows]], projected[v_index[rows]])
        return scores + self.bias

    def with_bias(self, bias: float) -> Matcher:
        """The same W at another level."""
        return Matcher(self.W, bias)

    def save(
        self,
        folder: Path | str,
        *,
        encoder_id: str,
        metrics: Mapping[str, Any],
        seed: int,
        data_range: tuple[str, str],
    ) -> artifacts.Manifest:
        """Write weights and manifest; the manifest's schema names the encoder whose vectors it was fitted to."""
        from safetensors.numpy import save_file

        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        save_file({"W": self.W, "bias": np.array([self.bias], dtype=np.float64)}, root / FILE)
        return artifacts.write(
            root,
            kind=KIND,
            files=[FILE],
            metrics=metrics,
            schema=schema(encoder_id, self.W),
            seed=seed,
            data_range=data_range,
        )

    @classmethod
    def load(cls, folder: Path | str, *, encoder_id: str | None = None) -> Matcher:
        """The matcher of a verified folder; refused where it was fitted to another encoder's vectors."""
        from safetensors.numpy import load

        manifest = artifacts.verify(folder, kind=KIND)
        tensors = load(artifacts.read(folder, manifest, FILE))
        if encoder_id is not None and manifest.schema != schema(encoder_id, tensors["W"]):
            raise artifacts.ArtifactError(
                f"{folder} was fitted to vectors of {manifest.schema}, not of {encoder_id}"
            )
        return cls(tensors["W"], float(tensors["bias"][0]), version=manifest.version)


def schema(encoder_id: str, W: Vectors) -> str:
    """Which vectors fit: the encoder's id and the shape of W."""
    return f"{encoder_id} {W.shape[0]}x{W.shape[1]}"
