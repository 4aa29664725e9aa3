"""The trees that serve are the trees that were trained."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import artifacts
from ml.ctr import compile as compiler
from ml.ctr.blender import Blender, train_blender
from ml.ctr.calibration import Calibration
from ml.ctr.features import NAMES, SCHEMA
from ml.ctr.runtime import CompiledBlender


def random_rows(rng: np.random.Generator, rows: int) -> np.ndarray:
    X = rng.normal(size=(rows, len(NAMES))).astype(np.float32)
    X[:, ::3] = np.round(X[:, ::3])  # many ties, zeros included
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 4] = np.nan_to_num(X[:, 4])  # a column without missing values in training
    return X


def trained(seed: int) -> Blender:
    rng = np.random.default_rng(seed)
    X = random_rows(rng, 3_000)
    log_odds = np.nan_to_num(X[:, 0]) - 2 + np.nan_to_num(X[:, 5]) * np.nan_to_num(X[:, 6])
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-log_odds))).astype(float)
    return train_blender(X, y, time_order=np.arange(len(X)), seed=seed)


def saved(folder: Path, blender: Blender, *, factor: float = 1.0) -> Path:
    files = [
        blender.save(folder),
        compiler.compile_blender(blender, folder),
        Calibration("level", (np.log(factor),)).save(folder),
    ]
    artifacts.write(
        folder, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=1, data_range=("a", "b")
    )
    return folder


@pytest.fixture(scope="module")
def blender() -> Blender:
    return trained(1)


@pytest.fixture(scope="module")
def folder(blender: Blender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("blender"), blender)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), missing=st.sampled_from([0.0, 0.2, 0.9]))
def test_compiled_trees_equal_lightgbm_also_where_values_are_missing(
    blender: Blender, folder: Path, seed: int, missing: float
) -> None:
    rng = np.random.default_rng(seed)
    X = random_rows(rng, 500)
    X[rng.random(X.shape) < missing] = np.nan
    assert np.abs(CompiledBlender.load(folder).predict(X) - blender.predict(X)).max() < 1e-6


def test_inputs_exactly_on_a_threshold_take_the_same_side(blender: Blender, folder: Path) -> None:
    thresholds = [float(node["threshold"]) for node in branches(blender)]
    X = np.zeros((len(thresholds), len(NAMES)), dtype=np.float32)
    for row, node in enumerate(branches(blender)):
        X[row, node["split_feature"]] = compiler.float32_not_above(float(node["threshold"]))
        with np.errstate(over="ignore"):
            above = np.nextafter(X[row, node["split_feature"]], np.float32(np.inf))
        at = float(X[row, node["split_feature"]])
        assert at <= float(node["threshold"]) < float(above)
    assert len(thresholds) > 100
    assert np.abs(CompiledBlender.load(folder).predict(X) - blender.predict(X)).max() < 1e-6


def branches(blender: Blender) -> list[dict]:
    found, left = [], [tree["tree_structure"] for tree in blender.dump()["tree_info"]]
    while left:
        if "split_feature" in (node := left.pop()):
            found.append(node)
            left += [node["left_child"], node["right_child"]]
    return found


def test_the_level_moves_the_odds(blender: Blender, folder: Path, tmp_path: Path) -> None:
    X = random_rows(np.random.default_rng(3), 50)
    p, doubled = blender.predict(X), CompiledBlender.load(saved(tmp_path, blender, factor=2.0)).predict(X)
    assert doubled / (1 - doubled) == pytest.approx(2 * p / (1 - p), rel=1e-4)


def test_a_model_that_learned_nothing_still_compiles(tmp_path: Path) -> None:
    X = np.full((100, len(NAMES)), np.nan, dtype=np.float32)
    constant = train_blender(X, np.full(100, 0.25), time_order=np.arange(100))
    assert CompiledBlender.load(saved(tmp_path, constant)).predict(X) == pytest.approx(0.25, abs=1e-6)


def test_trees_of_another_feature_list_are_refused(blender: Blender, tmp_path: Path) -> None:
    saved(tmp_path, blender)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"schema": "other"}))
    with pytest.raises(artifacts.ArtifactError, match="other features"):
        CompiledBlender.load(tmp_path)


def test_serving_loads_no_training_library(folder: Path) -> None:
    program = f"""
import sys
import numpy as np
from ml.ctr import counters, features
from ml.ctr.runtime import CompiledBlender
known = counters.Statistics().raw(counters.Keys("c", "l"), 0.0)
X = features.build({{name: [value] for name, value in known._asdict().items()}})
assert 0 < CompiledBlender.load({str(folder)!r}).predict(X)[0] < 1
heavy = {{"lightgbm", "pandas", "sklearn", "torch", "transformers", "onnx", "scipy", "django"}}
print(sorted(heavy & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
