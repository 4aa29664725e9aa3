"""The rate of matrix products that this device reaches, measured: what bounds the encoder's forms."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ml.text import bert_graph
from ml.text.encoder import FAST_BF16_CPU

ROWS = 256  # tokens of a batch


def peaks() -> dict[str, float]:
    """GFLOP/s of matrix products of the encoder's shapes (weighted as it has them), by kind; those there are."""
    import torch

    found = {
        "float32": _weighted(lambda inner, outer: _torch_product(inner, outer, torch.float32, "cpu")),
        "int8": _weighted(_int8_product),
        "float32, 2048²": rate(
            _torch_product(2_048, 2_048, torch.float32, "cpu", rows=2_048), 2 * 2_048**3, times=8
        ),
    }
    if cpu_has_bf16():
        found["bfloat16"] = _weighted(
            lambda inner, outer: _torch_product(inner, outer, torch.bfloat16, "cpu")
        )
    if torch.cuda.is_available():
        found["cuda bfloat16"] = rate(
            _torch_product(4_096, 4_096, torch.bfloat16, "cuda", rows=4_096), 2 * 4_096**3
        )
    return found


def _weighted(product: Callable[[int, int], Callable[[], Any]]) -> float:
    """Over a layer: four products 384×384, one each way between 384 and 1536."""
    shapes = (((384, 384), 4), ((384, 1_536), 1), ((1_536, 384), 1))
    operations = seconds = 0.0
    for (inner, outer), count in shapes:
        each = 2.0 * ROWS * inner * outer
        operations += count * each
        seconds += count * each / rate(product(inner, outer), each) / 1e9
    return operations / seconds / 1e9


def _torch_product(inner: int, outer: int, dtype: Any, device: str, rows: int = ROWS) -> Callable[[], Any]:
    import torch

    x = torch.randn(rows, inner, dtype=dtype, device=device)
    w = torch.randn(outer, inner, dtype=dtype, device=device)

    def multiply() -> None:
        torch.nn.functional.linear(x, w)
        if device == "cuda":
            torch.cuda.synchronize()

    return multiply


def _int8_product(inner: int, outer: int) -> Callable[[], Any]:
    """onnxruntime's product of bytes with 7-bit weights, without what stands around it in a model."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weight = rng.integers(-63, 64, (inner, outer)).astype(np.int8)
    node = helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"])
    body = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [ROWS, inner])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [ROWS, outer])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array(128, np.uint8), "zero")],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", bert_graph.OPSET)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    x = rng.integers(0, 256, (ROWS, inner)).astype(np.uint8)
    return lambda: session.run(None, {"x": x})


def rate(work: Callable[[], Any], operations: float, *, times: int = 40) -> float:
    """GFLOP/s of the best tenth."""
    work()
    clock = time.perf_counter if has_cuda() else time.thread_time
    took = []
    for _ in range(times):
        started = clock()
        work()
        took.append(clock() - started)
    return operations / float(np.percentile(took, 10)) / 1e9


def has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return any(flag in flags for flag in FAST_BF16_CPU)


def peak_now(kind: str) -> float:
    """The rate at this moment: a shared machine is not equally fast at all times."""
    import torch

    if kind == "int8":
        return _weighted(_int8_product)
    dtype = torch.float32 if kind == "float32" else torch.bfloat16
    device = "cuda" if kind.startswith("cuda") else "cpu"
    return _weighted(lambda inner, outer: _torch_product(inner, outer, dtype, device))
