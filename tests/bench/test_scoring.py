"""The benchmark of the encoder prints a row for every form that this machine has, beside what bounds it."""

import numpy as np
import pytest

from bench import scoring
from bench.products import peaks


def test_operations_are_those_of_the_products() -> None:
    # One token: four square products and two wide ones, two operations a number; attention 4 x dim.
    assert scoring.flop(np.array([1]), 1)[0] == 2 * (4 * 384 * 384 + 2 * 384 * 1_536) + 4 * 384
    assert scoring.flop(np.array([20]), 6)[0] == pytest.approx(428e6, rel=0.01)


def test_every_form_has_a_row(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["scoring", "--texts", "6", "--rounds", "1", "--pairs", "20", "300"]
    monkeypatch.setattr("sys.argv", words)
    scoring.main()
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| torch") or line.startswith("| onnx")]
    names = [row.split("|")[1].strip() for row in rows]
    assert names[:3] == [
        "torch float32, padded batches of 64 by characters",
        "torch float32, eager attention",
        "torch float32 (default here)",
    ]
    assert {scoring.OURS, scoring.LIBRARY} <= set(names)
    assert "int8 against the library's own, in this run: " in printed
    assert "onnxruntime int8, 4 layers" in names
    same = [
        row.split("|")[6].split(",")[0].strip() for row in rows if "float32" in row and "layers" not in row
    ]
    assert set(same) == {"1.0000"}
    assert "| 20 × 300 |" in printed


def test_the_device_is_measured() -> None:
    assert all(rate > 1 for rate in peaks().values())
