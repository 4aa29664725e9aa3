"""What the encoder and the scoring of pairs cost: python -m bench.scoring [--file FILE] [--tokens N] …

Every available form of the encoder reads the same texts, one thread, processor seconds; in turns, so that what others do
on the machine strikes all alike, and the best turn counts. Beside it stands the least it could take: the operations of
its matrix products at the rate that this device reaches, in this very run, on products of the same shapes (float32,
int8, bfloat16 each by the library that runs the form); and for int8 what the library itself makes of the same graph
(its dynamic quantiser, per channel). Then u'Wv of visitors with creatives, and the best of each row.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np

from bench.products import ROWS, cpu_has_bf16, has_cuda, peak_now, peaks, rate
from ml.artifacts import MANIFEST
from ml.text import bert_graph
from ml.text.compress import compress, sample_texts
from ml.text.encoder import Encoder, normalise
from ml.text.runtime import Batch, OnnxTransformer, TorchTransformer

ELSEWHERE = {  # texts a second per core at 23 tokens on another processor, which has bfloat16 and VNNI instructions
    "torch bfloat16": 296.0,
    "onnxruntime int8": 415.0,
}
OURS, LIBRARY = "onnxruntime int8", "onnxruntime int8 by its own dynamic quantiser, per channel"
PAIRS = ((1_000, 10_000), (1_000, 100_000))
TOP = 100


@dataclass(frozen=True)
class Form:
    """One way to run an encoder; `peak` names the rate that bounds it."""

    name: str
    encoder: Encoder
    peak: str
    batch_size: int | None = None
    encode: Callable[[Sequence[str]], Any] | None = None

    def read(self, texts: Sequence[str]) -> Any:
        if self.encode is not None:
            return self.encode(texts)
        return self.encoder.encode(texts, batch_size=self.batch_size)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, help="texts, one a line (default: those of the compression)")
    parser.add_argument("--tokens", type=int, help="only texts of so many tokens, marks included")
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pruned", type=int, default=4, help="layers of the pruned forms")
    parser.add_argument("--pairs", type=int, nargs=2, action="append", metavar=("VISITORS", "CREATIVES"))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    texts = (
        [normalise(text) for text in sample_texts(chosen.file) if text.strip()] if chosen.file else short()
    )
    texts = of_length(list(dict.fromkeys(texts)), chosen.tokens)[: chosen.texts]
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "peaks": peaks(),
            **encoders(texts, Path(folder), chosen.rounds, chosen.pruned),
            "pairs": [pairs(*each) for each in chosen.pairs or PAIRS],
        }
    print(json.dumps(result) if chosen.json else table(result))


def short() -> list[str]:
    """The sample without its long texts, and each with an ending, to have enough."""
    endings = ("", " today", " for your family", " near you, from 10 to 6", ": what you need to know")
    return [text + ending for ending in endings for text in sample_texts() if len(text) < 120]


def of_length(texts: list[str], wanted: int | None) -> list[str]:
    """Those of so many tokens; all where no number is wanted."""
    if wanted is None:
        return texts
    counts = map(len, Encoder.load(device="cpu", dtype="float32").transformer.tokens(texts))
    found = [text for text, count in zip(texts, counts, strict=True) if count == wanted]
    if not found:
        raise SystemExit(f"no text has {wanted} tokens")
    return found


def forms(folder: Path, pruned: int) -> list[Form]:
    """Those that this machine has."""
    full = Encoder.load(device="cpu", dtype="float32")
    compress(None, folder / "int8", int8=True)
    # What pruning costs a task is judged elsewhere; here only its time matters.
    compress(None, folder / "pruned", layers=pruned, task=lambda _: 0.0)
    compress(None, folder / "both", layers=pruned, int8=True, task=lambda _: 0.0)
    int8 = Encoder.load(str(folder / "int8"))
    eager = Encoder.load(device="cpu", dtype="float32")
    eager.transformer.model.set_attn_implementation("eager")  # type: ignore[attr-defined]
    found = [
        Form("torch float32, padded batches of 64 by characters", full, "float32", encode=padded(full)),
        Form("torch float32, eager attention", eager, "float32"),
        Form("torch float32 (default here)", full, "float32"),
        Form("torch float32, 16 texts a batch", full, "float32", 16),
        Form("onnxruntime float32, fused", fused(folder / "fused", full), "float32"),
        Form(LIBRARY, by_the_library(folder / "library", folder / "fused"), "int8"),
        Form(OURS, int8, "int8"),
        Form("onnxruntime int8, 1 text a batch", int8, "int8", 1),
        Form(
            f"torch float32, {pruned} layers", Encoder.load(str(folder / "pruned"), device="cpu"), "float32"
        ),
        Form(f"onnxruntime int8, {pruned} layers", Encoder.load(str(folder / "both")), "int8"),
    ]
    if cpu_has_bf16():
        found.append(Form("torch bfloat16", Encoder.load(device="cpu", dtype="bfloat16"), "bfloat16"))
    if has_cuda():
        for compiled in (False, True):
            encoder = Encoder.load(device="cuda", dtype="bfloat16", compiled=compiled)
            found.append(Form(f"cuda bfloat16{', compiled' * compiled}", encoder, "cuda bfloat16"))
    return found


def padded(encoder: Encoder) -> Callable[[Sequence[str]], Any]:
    """How one would do it by hand: sort by characters, pad each batch to its longest text, mask the rest."""
    transformer = encoder.transformer

    def encode(texts: Sequence[str]) -> Any:
        vectors = np.empty((len(texts), encoder.dim), np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            tokens = transformer.tokens([texts[row] for row in rows])
            longest = max(map(len, tokens))
            ids = np.array([each + [transformer.padding] * (longest - len(each)) for each in tokens])
            batch = Batch(ids, np.array([len(each) for each in tokens]))
            (pooled,) = transformer.pooled(batch, [encoder.layers], first_token=False)
            vectors[rows] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors

    return encode


def fused(folder: Path, full: Encoder) -> Encoder:
    """The float32 graph in the int8 form's place: what the change of library alone gives."""
    from ml.text import compress as writing

    folder.mkdir()
    assert isinstance(full.transformer, TorchTransformer)
    files = writing._write_files(full, folder, full.layers, sample_texts()[:4])
    config = full.transformer.model.config.to_dict()
    weights = writing._weights(full, full.layers)
    graph = bert_graph.build(weights, config, layers=full.layers, ranges=None)
    (folder / "model.onnx").write_bytes(graph)
    writing._sealed(folder, files, {})
    return Encoder.load(str(folder))


def by_the_library(folder: Path, fused_folder: Path) -> Encoder:
    """The float32 graph quantised by onnxruntime's own tool: ranges are found while running, weights have 7 bits."""
    import onnxruntime
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from ml.text import compress as writing

    shutil.copytree(fused_folder, folder)
    raw = folder / "raw.onnx"
    quantize_dynamic(
        folder / "model.onnx",
        raw,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "model.onnx")  # with the fusions that the tool counts on
    onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    raw.unlink()
    files = [path.name for path in sorted(folder.iterdir()) if path.name != MANIFEST]
    writing._sealed(folder, files, {})
    return Encoder.load(str(folder))


def encoders(texts: list[str], folder: Path, rounds: int, pruned: int) -> dict[str, Any]:
    """A row a form: texts a second, operations, cosine to the full model, megabytes of weights."""
    import torch

    ways = forms(folder, pruned)
    tokens = np.array([len(each) for each in ways[0].encoder.transformer.tokens(texts)])
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    rates: dict[str, list[float]] = {way.name: [] for way in ways}
    vectors = {}
    for _ in range(rounds):
        for way in ways:
            rates[way.name].append(peak_now(way.peak))
            clock = time.perf_counter if way.peak.startswith("cuda") else time.process_time
            started = clock()
            vectors[way.name] = way.read(texts)
            if way.peak.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[way.name].append(clock() - started)
    reference = vectors["torch float32 (default here)"]
    rows = []
    for way in ways:
        done = len(texts) / min(seconds[way.name])
        operations = float(np.mean(flop(tokens, way.encoder.layers)))
        limit = float(np.max(rates[way.name])) * 1e9 / operations
        same = way.encoder.layers == ways[0].encoder.layers
        cosine = (reference * vectors[way.name]).sum(axis=1)
        rows.append(
            {
                "form": way.name,
                "texts_per_second": done,
                "mflop_per_text": operations / 1e6,
                "limit_texts_per_second": limit,
                "of_limit": done / limit,
                "lowest_cosine": float(cosine.min()) if same else None,
                "mean_cosine": float(cosine.mean()) if same else None,
                "weights_mb": _weights_mb(way.encoder),
            }
        )
    return {
        "tokens": float(tokens.mean()),
        "texts": len(texts),
        "encoders": rows,
        "tokenizer": tokenizer(texts, ways),
    }


def rate_of(result: dict[str, Any], form: str) -> float:
    """Texts a second of a form."""
    return next(float(row["texts_per_second"]) for row in result["encoders"] if row["form"] == form)


def flop(tokens: Any, layers: int, *, dim: int = 384, inner: int = 1_536) -> Any:
    """Operations of the matrix products of one text: projections, the wide pair, attention."""
    return layers * (tokens * (2 * 4 * dim * dim + 2 * 2 * dim * inner) + 4 * tokens**2 * dim)


def tokenizer(texts: list[str], ways: list[Form]) -> dict[str, float]:
    """Texts a second of the two ways to the same tokens."""
    found = {}
    for kind, name in ((TorchTransformer, "transformers"), (OnnxTransformer, "tokenizers")):
        transformer = next(
            way.encoder.transformer for way in ways if isinstance(way.encoder.transformer, kind)
        )
        started = time.process_time()
        for _ in range(5):
            transformer.tokens(texts)
        found[name] = 5 * len(texts) / (time.process_time() - started)
    return found


def _weights_mb(encoder: Encoder) -> float:
    if isinstance(encoder.transformer, TorchTransformer):
        model = encoder.transformer.model
        return sum(each.numel() * each.element_size() for each in model.parameters()) / 1e6
    return (encoder.folder / "model.onnx").stat().st_size / 1e6


def pairs(visitors: int, creatives: int, *, dim: int = 384) -> dict[str, Any]:
    """u'Wv of all visitors with all creatives by blocks, and the best of each visitor."""
    rng = np.random.default_rng(0)
    U = rng.normal(size=(visitors, dim)).astype(np.float32)
    V = rng.normal(size=(creatives, dim)).astype(np.float32)
    W = rng.normal(size=(dim, dim)).astype(np.float32)
    block = max(1, 4_000_000 // creatives)

    def score(best: bool) -> None:
        towards = U @ W
        for start in range(0, visitors, block):
            scores = towards[start : start + block] @ V.T
            if best:
                np.argpartition(scores, -min(TOP, creatives), axis=1)[:, -min(TOP, creatives) :]

    operations = 2.0 * visitors * dim * (dim + creatives)
    peak = rate(lambda: U[:ROWS] @ V[:4_096].T, 2.0 * min(ROWS, visitors) * dim * min(4_096, creatives))
    scored, chosen = (_seconds(lambda best=best: score(best)) for best in (False, True))
    return {
        "visitors": visitors,
        "creatives": creatives,
        "pairs_per_second": visitors * creatives / scored,
        "of_peak": operations / scored / 1e9 / peak,
        "peak_gflops": peak,
        f"top_{TOP}_pairs_per_second": visitors * creatives / chosen,
    }


def _seconds(work: Callable[[], Any]) -> float:
    took = []
    for _ in range(3):
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return min(took)


def table(result: dict[str, Any]) -> str:
    lines = [
        "measured products: "
        + ", ".join(f"{name} {each:.0f} GFLOP/s" for name, each in result["peaks"].items())
    ]
    lines.append("" if cpu_has_bf16() else "This processor has no bfloat16 instructions: no bfloat16 row.")
    lines.append(f"{result['texts']} texts of {result['tokens']:.1f} tokens")
    lines += [
        "| form | texts/s | MFLOP a text | limit texts/s | of limit | cosine lowest, mean | weights MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["encoders"]:
        near = (
            "–" if row["lowest_cosine"] is None else f"{row['lowest_cosine']:.4f}, {row['mean_cosine']:.4f}"
        )
        lines.append(
            f"| {row['form']} | {row['texts_per_second']:.0f} | {row['mflop_per_text']:.0f} "
            f"| {row['limit_texts_per_second']:.0f} | {row['of_limit']:.2f} | {near} | {row['weights_mb']:.0f} |"
        )
    lines.append(
        "int8 against the library's own, in this run: "
        f"{rate_of(result, OURS) / rate_of(result, LIBRARY):.2f} of its texts/s"
    )
    lines.append(
        "elsewhere (a core with bfloat16 and VNNI, 23 tokens): "
        + ", ".join(f"{name} {each:.0f} texts/s" for name, each in ELSEWHERE.items())
    )
    lines.append(
        "tokens alone: "
        + ", ".join(f"{name} {each:,.0f} texts/s" for name, each in result["tokenizer"].items())
    )
    lines += [
        "",
        f"| visitors × creatives | pairs/s | of peak | with the best {TOP} of each, pairs/s |",
        "|---|---|---|---|",
    ]
    for row in result["pairs"]:
        lines.append(
            f"| {row['visitors']:,} × {row['creatives']:,} | {row['pairs_per_second']:,.0f} | {row['of_peak']:.2f} "
            f"| {row[f'top_{TOP}_pairs_per_second']:,.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
