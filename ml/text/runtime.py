"""How a transformer runs: by torch from a Hugging Face folder, or by onnxruntime from a compressed one.

Both take token ids without padding waste (`batches`), and give, per text, the mean of its token states (or the first
one) after each wanted layer. Nothing is masked in a batch of texts of one length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ml import artifacts
from ml.schema import Ints, Vectors

LONGEST_TEXT_TOKENS = 256
DESCRIPTION, GRAPH, TOKENIZER, CONFIG = "encoder.json", "model.onnx", "tokenizer.json", "config.json"
KIND = "encoder"
INT8, FLOAT32 = "int8", "float32"


@dataclass(frozen=True)
class Description:
    """What a compressed folder says of itself, under its manifest. `language` None: many."""

    id: str
    language: str | None
    pools_first_token: bool
    precision: str
    dim: int
    longest: int
    layers: int
    full_layers: int

    def write(self, folder: Path) -> None:
        (folder / DESCRIPTION).write_text(json.dumps(asdict(self), indent=1, sort_keys=True))


@dataclass(frozen=True)
class Batch:
    """Token ids (texts, longest), and how many of each row are the text's."""

    ids: Ints
    lengths: Ints

    @property
    def mask(self) -> Any:
        """Which tokens are the texts', as 0 and 1."""
        return (np.arange(self.ids.shape[1]) < self.lengths[:, None]).astype(np.int32)

    @property
    def is_padded(self) -> bool:
        """Whether any row has tokens that are not its text's."""
        return bool(self.lengths.min() < self.ids.shape[1])


class Transformer(Protocol):
    """Texts to tokens to pooled states."""

    dim: int
    layers: int
    batch_tokens: int
    padding: int

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """Of each text its ids with the marks, cut at the longest that the transformer reads."""

    def pooled(self, batch: Batch, layers: Sequence[int], *, first_token: bool) -> list[Vectors]:
        """After each wanted layer (1 is the lowest), one float32 row a text."""


def described(folder: Path) -> Description | None:
    """The description of a compressed folder once every file is what its manifest says; None for any other folder."""
    if not (folder / DESCRIPTION).is_file():
        return None
    manifest = artifacts.verify(folder, kind=KIND)
    return Description(**json.loads(artifacts.read(folder, manifest, DESCRIPTION)))


def batches(
    tokens: Sequence[Sequence[int]], *, padding: int, most_tokens: int, most_texts: int | None
) -> Iterator[tuple[Ints, Batch]]:
    """(rows, batch) of texts of like token counts, with at most so many tokens (one text may have more)."""
    lengths = np.array([len(each) for each in tokens], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        width = np.arange(1, len(order) - start + 1)
        fits = width * lengths[order[start:]] <= most_tokens
        size = max(1, int(fits.argmin()) if not fits.all() else len(fits))
        rows = order[start : start + min(size, most_texts or size)]
        yield rows, _padded([tokens[row] for row in rows], lengths[rows], padding)
        start += len(rows)


def _padded(tokens: list[Sequence[int]], lengths: Ints, padding: int) -> Batch:
    ids = np.full((len(tokens), int(lengths[-1])), padding, dtype=np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate([np.asarray(each) for each in tokens])
    return Batch(ids, lengths)


def pool(states: Vectors, batch: Batch, *, first_token: bool) -> Vectors:
    """Of states (texts, tokens, dim) the first one of each text, or the mean over its tokens."""
    if first_token:
        return np.ascontiguousarray(states[:, 0])
    if not batch.is_padded:
        mean: Vectors = states.mean(axis=1)
        return mean
    weights = (batch.mask / batch.lengths[:, None]).astype(np.float32)
    weighted: Vectors = np.einsum("btd,bt->bd", states, weights)
    return weighted


class TorchTransformer:
    """Any transformer of a Hugging Face folder. Layers above the highest wanted are not computed in BERT's kind."""

    def __init__(self, folder: Path, *, device: str, dtype: str, compiled: bool = False) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer, logging

        logging.disable_progress_bar()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
        model = AutoModel.from_pretrained(str(folder), dtype=getattr(torch, dtype), use_safetensors=True)
        self.model: Any = model.eval().to(device)
        if compiled:
            self.model.compile(dynamic=True)
        self.dim = int(model.config.hidden_size)
        self.layers = int(model.config.num_hidden_layers)
        self.longest = min(LONGEST_TEXT_TOKENS, int(getattr(model.config, "max_position_embeddings", 512)))
        self.padding = int(self.tokenizer.pad_token_id or 0)
        # A processor is fastest while a batch's states stay in its caches; a GPU wants to be filled.
        self.batch_tokens = 32_768 if device.startswith("cuda") else 1_024
        self._device = device

    def tokens(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(
            texts,
            truncation=True,
            max_length=self.longest,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return found

    def pooled(self, batch: Batch, layers: Sequence[int], *, first_token: bool) -> list[Vectors]:
        import torch

        given = {"input_ids": torch.from_numpy(batch.ids).to(self._device)}
        if batch.is_padded:
            given["attention_mask"] = torch.from_numpy(batch.mask.astype(np.int64)).to(self._device)
        with torch.inference_mode():
            states = self._states(given, layers)
            return [_pooled_by_torch(each, given, first_token=first_token) for each in states]

    def _states(self, given: dict[str, Any], layers: Sequence[int]) -> list[Any]:
        highest = max(layers)
        if min(layers) == self.layers:
            return [self.model(**given).last_hidden_state] * len(layers)
        stack = getattr(getattr(self.model, "encoder", None), "layer", None)
        try:
            if stack is not None:
                self.model.encoder.layer = stack[:highest]
            states = self.model(**given, output_hidden_states=True).hidden_states
        finally:
            if stack is not None:
                self.model.encoder.layer = stack
        return [states[layer] for layer in layers]


def _pooled_by_torch(states: Any, given: dict[str, Any], *, first_token: bool) -> Vectors:
    """On the device, in float32: only one row a text crosses over."""
    states = states.float()
    if first_token:
        pooled = states[:, 0]
    elif "attention_mask" in given:
        weights = given["attention_mask"].unsqueeze(-1).float()
        pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    else:
        pooled = states.mean(1)
    found: Vectors = pooled.cpu().numpy()
    return found


class OnnxTransformer:
    """The graph of a compressed folder, on one thread. Loads neither torch nor transformers."""

    batch_tokens = 256

    def __init__(self, folder: Path, description: Description) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        manifest = artifacts.verify(folder, kind=KIND)
        self.dim = description.dim
        self.layers = description.layers
        self._tokenizer = Tokenizer.from_str(artifacts.read(folder, manifest, TOKENIZER).decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(description.longest)
        self.padding = 0  # masked, whatever it is
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            artifacts.read(folder, manifest, GRAPH), options, providers=["CPUExecutionProvider"]
        )
        self._run = onnxruntime.RunOptions()
        self._run.only_execute_path_to_fetches = True

    def tokens(self, texts: list[str]) -> list[list[int]]:
        return [each.ids for each in self._tokenizer.encode_batch_fast(texts)]

    def pooled(self, batch: Batch, layers: Sequence[int], *, first_token: bool) -> list[Vectors]:
        wanted = [f"layer_{layer}" for layer in layers]
        states = self._session.run(wanted, {"ids": batch.ids, "mask": batch.mask}, self._run)
        return [pool(each, batch, first_token=first_token) for each in states]
