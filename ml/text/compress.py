"""A smaller encoder from a larger one: its first layers only, int8 instead of float32, or both.

What is written is a folder with a manifest that `Encoder.load` opens like any other, under an id of its own, so that
cached vectors of the two never mix. Nothing is written that fails the gate: int8 must give nearly the full model's
vectors; fewer layers give other vectors, so their effect on a task is what counts.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts
from ml.schema import Vectors
from ml.text import bert_graph
from ml.text.encoder import Encoder, EncoderError
from ml.text.runtime import (
    CONFIG,
    DESCRIPTION,
    FLOAT32,
    GRAPH,
    INT8,
    KIND,
    TOKENIZER,
    Description,
    TorchTransformer,
    described,
)

LOWEST_COSINE = 0.988
TASK_TOLERANCE = 0.001  # of the task's loss, relative
SAMPLE = Path(__file__).with_name("sample.txt")
WEIGHTS = "model.safetensors"
TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
RECIPE = f"{bert_graph.SMOOTHING} {bert_graph.LARGEST_WEIGHT} {bert_graph.STEPS}"


class CompressError(EncoderError):
    """Nothing was written: the encoder cannot be compressed as asked, or what came out failed the gate."""


@dataclass(frozen=True)
class Fidelity:
    """Cosines of the small encoder's vectors to those of the full one."""

    lowest: float
    mean: float


def sample_texts(path: Path = SAMPLE) -> list[str]:
    """The texts of a file, one a line. The built-in ones are ads, products and news, short and long."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def fidelity(full: Encoder, small: Encoder, texts: Sequence[str]) -> Fidelity:
    """How near the vectors are, layer for layer: a pruned encoder is held to the same layer of the full one."""
    wanted = full.encode(texts, layers=small.layers)
    cosine = (wanted * small.encode(texts)).sum(axis=1)
    return Fidelity(float(cosine.min()), float(cosine.mean()))


def compress(
    source: str | None,
    out: Path,
    *,
    layers: int | None = None,
    int8: bool = False,
    texts: Sequence[str] | None = None,
    task: Callable[[Encoder], float] | None = None,
    lowest_cosine: float | None = None,
) -> artifacts.Manifest:
    """Write the small encoder to `out`, which must not exist, and return its manifest; CompressError where it fails.

    `texts` say how large activations become; every fourth one is held out and judges the result.
    `task` gives the loss of whatever the encoder is for; fewer layers are refused without one.
    """
    if out.exists():
        raise CompressError(f"{out} exists already")
    full = Encoder.load(source, device="cpu", dtype=FLOAT32)
    kept = layers or full.layers
    _check_wanted(full, kept, int8=int8, judged=task is not None)
    texts = sample_texts() if texts is None else list(texts)
    fitted_on, judging = _parts(texts)
    if not judging:
        raise CompressError("at least four texts are needed, three to fit and one to judge")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        files = _write_files(full, draft, kept, fitted_on if int8 else None)
        manifest = _sealed(draft, files, {})
        small = Encoder.load(str(draft), device="cpu")
        metrics = _passed(
            full, small, judging, task, LOWEST_COSINE if lowest_cosine is None else lowest_cosine
        )
        manifest = _sealed(draft, files, metrics)
        draft.chmod(0o755)
        draft.rename(out)
        return manifest
    except OSError as error:
        raise CompressError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def int8_of(source: str | None, folder: Path) -> Encoder:
    """The int8 form of an encoder, kept under the folder and made at the first need (half a minute).

    CompressError where it fails the gate; the caller then has the full one.
    """
    place = folder / f"{Encoder.id_of(source)}-{INT8}-{_recipe(_parts(sample_texts())[0])}"
    if not place.exists():
        try:
            compress(source, place, int8=True)
        except CompressError:
            if not place.exists():  # else another process was faster
                raise
    return Encoder.load(str(place))


def _parts(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """(those that fit the ranges, those that judge)."""
    return [text for row, text in enumerate(texts) if row % 4 != 3], list(texts[3::4])


def _check_wanted(full: Encoder, kept: int, *, int8: bool, judged: bool) -> None:
    if described(full.folder):
        raise CompressError(f"{full.folder} is compressed already; start from the full encoder")
    if not 1 <= kept <= full.layers:
        raise CompressError(f"it has {full.layers} layers; keep 1 to {full.layers} of them")
    if not int8 and kept == full.layers:
        raise CompressError("say int8, or fewer layers than it has")
    if kept < full.layers and not judged:
        raise CompressError("fewer layers give other vectors: name a task that judges them")
    if int8 or kept < full.layers:
        try:
            bert_graph.check(_network(full).config.to_dict())
        except bert_graph.GraphError as error:
            raise CompressError(f"{full.folder} cannot be compressed: {error}") from error


def _write_files(full: Encoder, draft: Path, kept: int, fitted_on: list[str] | None) -> list[str]:
    """Everything but the manifest; int8 when there are texts to fit the ranges on."""
    from safetensors.numpy import save_file

    transformer = _torch(full)
    config = _network(full).config
    weights = _weights(full, kept)
    name = f"{full.id}-{kept}of{full.layers}" if kept < full.layers else full.id
    if fitted_on is not None:
        ranges = _ranges(full, kept, fitted_on)
        graph = bert_graph.build(weights, config.to_dict(), layers=kept, ranges=ranges)
        (draft / GRAPH).write_bytes(graph)
        transformer.tokenizer.backend_tokenizer.save(str(draft / TOKENIZER))
        name = f"{name}-{INT8}-{_recipe(fitted_on)}"
        files = [GRAPH, TOKENIZER]
    else:
        save_file(weights, draft / WEIGHTS, metadata={"format": "pt"})
        present = [file for file in TOKENIZER_FILES if (full.folder / file).is_file()]
        for file in present:
            shutil.copyfile(full.folder / file, draft / file)
        files = [WEIGHTS, *present]
    smaller = type(config).from_dict({**config.to_dict(), "num_hidden_layers": kept})
    smaller.to_json_file(draft / CONFIG)
    Description(
        id=name,
        language=full.language,
        pools_first_token=full.pools_first_token,
        precision=FLOAT32 if fitted_on is None else INT8,
        dim=full.dim,
        longest=transformer.longest,
        layers=kept,
        full_layers=full.layers,
    ).write(draft)
    return [*files, CONFIG, DESCRIPTION]


def _sealed(draft: Path, files: list[str], metrics: dict[str, Any]) -> artifacts.Manifest:
    return artifacts.write(
        draft, kind=KIND, files=files, metrics=metrics, schema="", seed=0, data_range=("", "")
    )


def _passed(
    full: Encoder,
    small: Encoder,
    texts: list[str],
    task: Callable[[Encoder], float] | None,
    lowest_cosine: float,
) -> dict[str, Any]:
    """What the gate measured; CompressError where it is not enough."""
    near = fidelity(full, small, texts)
    if not near.lowest >= lowest_cosine:
        raise CompressError(
            f"its vectors are too far from the full ones: lowest cosine {near.lowest:.4f}, wanted {lowest_cosine}"
        )
    metrics = {"lowest_cosine": round(near.lowest, 5), "mean_cosine": round(near.mean, 5)}
    if task is None:
        return metrics
    before, after = task(full), task(small)
    if not after <= before * (1 + TASK_TOLERANCE):
        raise CompressError(
            f"the task's loss rises from {before:.5f} to {after:.5f}, more than {TASK_TOLERANCE:.1%}"
        )
    return {**metrics, "task_loss_full": round(before, 6), "task_loss": round(after, 6)}


def _torch(encoder: Encoder) -> TorchTransformer:
    if not isinstance(encoder.transformer, TorchTransformer):
        raise CompressError(f"{encoder.folder} holds no weights to compress")
    return encoder.transformer


def _network(encoder: Encoder) -> Any:
    return _torch(encoder).model


def _weights(full: Encoder, kept: int) -> dict[str, Vectors]:
    """By name, those of the layers that stay."""
    gone = tuple(f"encoder.layer.{layer}." for layer in range(kept, full.layers))
    state = _network(full).state_dict()
    return {
        name: np.ascontiguousarray(value.float().numpy())
        for name, value in state.items()
        if not name.startswith(gone) and value.is_floating_point()
    }


def _ranges(full: Encoder, kept: int, texts: list[str]) -> bert_graph.Ranges:
    """Lowest and highest of each channel that enters a product, over the texts' own tokens."""
    found: dict[str, tuple[Vectors, Vectors]] = {}

    def watch(name: str) -> Callable[[Any, Any], None]:
        def look(_module: Any, inputs: Any) -> None:
            states = inputs[0].flatten(0, -2)
            low, high = states.amin(0).numpy(), states.amax(0).numpy()
            before = found.get(name, (low, high))
            found[name] = (np.minimum(before[0], low), np.maximum(before[1], high))

        return look

    modules = dict(_network(full).named_modules())
    with ExitStack() as watching:
        for layer in range(kept):
            for name, module in bert_graph.product_inputs(layer).items():
                watching.callback(modules[module].register_forward_pre_hook(watch(name)).remove)
        full.encode(texts, batch_size=1, layers=kept)
    return found


def _recipe(fitted_on: Sequence[str]) -> str:
    """Six hex digits over how and on what texts the ranges were found."""
    return hashlib.sha256("\n".join([RECIPE, *fitted_on]).encode()).hexdigest()[:6]
