"""LightGBM's trees as flat tables, so that the ads process serves them without LightGBM.

Routing is exact for float32 inputs: LightGBM goes left where x <= t with a double t; for a float32 x that equals
x <= the largest float32 not above t. Missing values follow LightGBM's rules, read from each node. Leaves are doubles and
are summed in the order of their trees, so that the sums are LightGBM's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ml.ctr.blender import Blender
from ml.ctr.runtime import NODE, TREES, Trees

ZERO_BELOW = float(np.float32(1e-35))


class CompileError(Exception):
    """A tree uses something that the compiled form cannot express exactly."""


def compile_blender(blender: Blender, folder: Path | str) -> str:
    """Write the compiled trees into the folder; returns the file's name for its manifest."""
    flatten(blender.dump()).save(Path(folder) / TREES)
    return TREES


def flatten(dump: dict[str, Any]) -> Trees:
    """Of a `Booster.dump_model()`."""
    nodes: list[tuple[float, int, int, int]] = []
    leaves: list[float] = []
    roots, depths = [], []
    for tree in dump["tree_info"]:
        roots.append(len(nodes))
        depths.append(_append(tree["tree_structure"], nodes, leaves))
    return Trees(
        root=np.array(roots, np.int32),
        depth=np.array(depths, np.int32),
        nodes=np.array(nodes, NODE),
        leaf=np.array(leaves, np.float64),
    )


def _append(tree: dict[str, Any], nodes: list[tuple[float, int, int, int]], leaves: list[float]) -> int:
    """Add a tree's nodes level by level, children side by side; returns how many levels lead to its last leaf."""
    level, depth = [tree], 0
    below: list[dict[str, Any]]
    while True:
        ends = len(nodes) + len(level)
        below = []
        for node in level:
            if "split_feature" in node:
                nodes.append(_branch(node, ends + len(below)))
                leaves.append(0.0)
                below += [node["left_child"], node["right_child"]]
            else:
                nodes.append((np.inf, len(nodes), 0, 1))
                leaves.append(float(node["leaf_value"]))
        if not below:
            return depth
        level, depth = below, depth + 1


def _branch(node: dict[str, Any], child: int) -> tuple[float, int, int, int]:
    if node["decision_type"] != "<=":
        raise CompileError(f"only numeric splits can be compiled, found {node['decision_type']!r}")
    threshold = _served_threshold(float(node["threshold"]))
    return threshold, child, int(node["split_feature"]), int(_missing_goes_left(node))


def float32_not_above(threshold: float) -> float:
    """The largest float32 that is <= the double."""
    with np.errstate(over="ignore"):  # splits on "missing or not" have thresholds beyond float32
        nearest = np.float32(threshold)
    if float(nearest) > threshold:
        nearest = np.nextafter(nearest, np.float32(-np.inf))
    return float(nearest)


def _served_threshold(threshold: float) -> float:
    """LightGBM reads values within 1e-35 of zero as zero, so −1e-35 itself lies above that threshold."""
    served = float32_not_above(threshold)
    return float(np.nextafter(np.float32(served), np.float32(-1))) if served == -ZERO_BELOW else served


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """LightGBM: a node that met no missing value in training reads NaN as 0; others have a default side."""
    if node["missing_type"] == "NaN":
        return bool(node["default_left"])
    if node["missing_type"] == "None":
        return float(node["threshold"]) >= 0
    raise CompileError("trees trained with zero_as_missing cannot be compiled")
