"""The blender as the ads process runs it: numpy and the compiled loops, no LightGBM."""

from __future__ import annotations

from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ml import artifacts
from ml.ctr.calibration import Calibration
from ml.ctr.features import NAMES, SCHEMA
from ml.native import kernels
from ml.schema import Column, Floats, Ints, Vectors

KIND = "blender"
TREES = "trees.npz"
NODE = np.dtype(
    [("threshold", np.float32), ("child", np.int32), ("feature", np.int32), ("missing_left", np.int32)]
)
_TOGETHER = 256  # rows that go down the trees at once without the compiled loop


@dataclass(frozen=True)
class Trees:
    """Trees as tables. A row goes left where its feature is at most the threshold, or missing where that is left; `child`
    is the left one, the right one follows it. A leaf is its own child, on the left. `root` and `depth` are by tree, `leaf`
    has the value of each node that is one."""

    root: Column
    depth: Column
    nodes: Column
    leaf: Floats

    def log_odds(self, X: Vectors) -> Floats:
        """The sum of leaves, float64 of shape (n,)."""
        X = np.ascontiguousarray(X, np.float32)
        out = np.zeros(len(X))
        if kernels is not None:
            tables = (self.root, self.depth, self.nodes, self.leaf)
            kernels.trees(X, len(X), X.shape[1], *tables, len(self.root), out)
            return out
        for start in range(0, len(X), _TOGETHER):
            out[start : start + _TOGETHER] = self._sums(X[start : start + _TOGETHER])
        return out

    def _sums(self, X: Vectors) -> Floats:
        """All trees of some rows at once, a level at a time."""
        threshold, child, feature, missing_left = (
            np.ascontiguousarray(self.nodes[name]) for name in NODE.fields or {}
        )
        at, row = np.repeat(self.root[:, None], len(X), axis=1), np.arange(len(X))
        for _ in range(int(self.depth.max(initial=0))):
            x = X[row, feature[at]]
            left = (x <= threshold[at]) | ((missing_left[at] == 1) & np.isnan(x))
            at = child[at] + ~left
        sums: Floats = self.leaf[at].sum(axis=0)  # tree after tree, as LightGBM adds them
        return sums

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **{one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def parse(cls, data: bytes) -> Trees:
        """The inverse of `save`; ArtifactError where a table is none, or a node leads out of it."""
        try:
            with np.load(BytesIO(data), allow_pickle=False) as stored:
                found = cls(**{one.name: np.ascontiguousarray(stored[one.name]) for one in fields(cls)})
        except (ValueError, KeyError, OSError, BadZipFile) as error:
            raise artifacts.ArtifactError(f"the trees cannot be read: {error}") from error
        if not found._holds_together():
            raise artifacts.ArtifactError("the trees lead out of their tables")
        return found

    def _holds_together(self) -> bool:
        """The compiled loop follows numbers without asking."""
        size, kinds = len(self.nodes), [one.dtype for one in (self.root, self.depth, self.nodes, self.leaf)]
        if kinds != [np.int32, np.int32, NODE, np.float64] or len(self.leaf) != size:
            return False
        child, feature = self.nodes["child"], self.nodes["feature"]
        is_leaf = child == np.arange(size)
        inside = [
            (self.root >= 0) & (self.root < size),
            (child >= 0) & (child + ~is_leaf < size),
            (feature >= 0) & (feature < len(NAMES)),
            ~is_leaf | (np.isposinf(self.nodes["threshold"]) & (self.nodes["missing_left"] == 1)),
        ]
        return len(self.root) == len(self.depth) and all(bool(one.all()) for one in inside)


class CompiledBlender:
    """Trees and calibration of one verified folder; `predict` gives calibrated click probabilities."""

    def __init__(self, trees: Trees, *, calibration: Calibration, version: str) -> None:
        self.trees = trees
        self.calibration = calibration
        self.version = version

    @classmethod
    def load(cls, folder: Path | str) -> CompiledBlender:
        """Check every file and the feature schema, then load what was checked."""
        manifest = artifacts.verify(folder, kind=KIND, schema=SCHEMA)
        return cls(
            Trees.parse(artifacts.read(folder, manifest, TREES)),
            calibration=Calibration.read(folder, manifest),
            version=manifest.version,
        )

    def predict(self, X: Vectors, *, campaign: Ints | None = None, slot: Ints | int | None = None) -> Floats:
        """pCTR of each feature row (ml.ctr.features.build), calibrated; campaigns and slots matter only to segments."""
        return self.calibration.probabilities(self.log_odds(X), campaign=campaign, slot=slot)

    def log_odds(self, X: Vectors) -> Floats:
        """What the trees say, before it is calibrated."""
        return self.trees.log_odds(X)
