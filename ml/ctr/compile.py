"""LightGBM to ONNX, so that the ads process serves trees without LightGBM.

Routing is exact for float32 inputs: LightGBM goes left where x <= t with a double t; for a float32 x that equals
x <= the largest float32 not above t. Missing values follow LightGBM's rules, read from each node.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ml.ctr.blender import Blender

FILE = "blender.onnx"
INPUT, OUTPUT = "features", "log_odds"
ZERO_BELOW = float(np.float32(1e-35))
OPSET_ML, OPSET, IR_VERSION = 3, 17, 9


class CompileError(Exception):
    """A tree uses something that the compiled form cannot express exactly."""


def compile_blender(blender: Blender, folder: Path | str) -> str:
    """Write the compiled trees into the folder; returns the file's name for its manifest.

    The graph maps float32 (n, features) to the raw score (log odds), float32 (n, 1).
    """
    (Path(folder) / FILE).write_bytes(to_onnx(blender.dump(), features=len(blender.names)))
    return FILE


def to_onnx(dump: dict[str, Any], *, features: int) -> bytes:
    """The serialised graph of a `Booster.dump_model()`."""
    from onnx import TensorProto, checker, helper

    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        [OUTPUT],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        **_attributes(dump),
    )
    graph = helper.make_graph(
        [node],
        "blender",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("ai.onnx.ml", OPSET_ML), helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString())


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


def _attributes(dump: dict[str, Any]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in (*_NODE_COLUMNS, *_LEAF_COLUMNS)}
    for tree in dump["tree_info"]:
        numbered = list(_walk(tree["tree_structure"]))
        number = {id(node): place for place, node in enumerate(numbered)}
        for place, node in enumerate(numbered):
            row = _leaf() if "split_feature" not in node else _branch(node, number)
            row |= {"nodes_treeids": tree["tree_index"], "nodes_nodeids": place}
            for name in _NODE_COLUMNS:
                columns[name].append(row[name])
            if "split_feature" not in node:
                columns["target_treeids"].append(tree["tree_index"])
                columns["target_nodeids"].append(place)
                columns["target_ids"].append(0)
                columns["target_weights"].append(float(node["leaf_value"]))
    return columns


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    if "split_feature" in node:
        yield from _walk(node["left_child"])
        yield from _walk(node["right_child"])


def _leaf() -> dict[str, Any]:
    return {
        "nodes_modes": "LEAF",
        "nodes_featureids": 0,
        "nodes_values": 0.0,
        "nodes_truenodeids": 0,
        "nodes_falsenodeids": 0,
        "nodes_missing_value_tracks_true": 0,
    }


def _branch(node: dict[str, Any], number: dict[int, int]) -> dict[str, Any]:
    if node["decision_type"] != "<=":
        raise CompileError(f"only numeric splits can be compiled, found {node['decision_type']!r}")
    return {
        "nodes_modes": "BRANCH_LEQ",
        "nodes_featureids": int(node["split_feature"]),
        "nodes_values": _served_threshold(float(node["threshold"])),
        "nodes_truenodeids": number[id(node["left_child"])],
        "nodes_falsenodeids": number[id(node["right_child"])],
        "nodes_missing_value_tracks_true": int(_missing_goes_left(node)),
    }


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """LightGBM: a node that met no missing value in training reads NaN as 0; others have a default side."""
    if node["missing_type"] == "NaN":
        return bool(node["default_left"])
    if node["missing_type"] == "None":
        return float(node["threshold"]) >= 0
    raise CompileError("trees trained with zero_as_missing cannot be compiled")


_NODE_COLUMNS = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_modes",
    "nodes_featureids",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)
_LEAF_COLUMNS = ("target_treeids", "target_nodeids", "target_ids", "target_weights")
