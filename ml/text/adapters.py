"""A transformer with low-rank adapters and a linear head on its layers' mean token states; adapters on disk.

An adapter is peft's own folder (adapter_config.json, adapter_model.safetensors, about a megabyte). Merged into its
base it is a transformer like any other: nothing that reads one needs to know of adapters.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.schema import Floats
from ml.text.checkpoint import copy_beside
from ml.text.encoder import LAYER_LENGTH, LONGEST_TEXT_TOKENS, EncoderError, normalise

if TYPE_CHECKING:
    import torch

ADAPTED = r"encoder\.layer\.({layers})\..*\.(query|key|value|dense)"


class Network:
    """Scores of texts by their numbers; only adapter and head learn."""

    def __init__(
        self, base: Path, texts: Sequence[str], *, depths: Sequence[float], rank: int, alpha: int, device: str
    ) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        model, self._tokenizer = _load(base)
        stack = getattr(getattr(model, "encoder", None), "layer", None)
        if stack is None:
            raise EncoderError(f"{base} is not built like BERT: no layers to adapt")
        self._layers = [max(1, round(depth * len(stack))) for depth in depths]
        model.encoder.layer = stack[: max(self._layers)]
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=0.0,
            bias="none",
            target_modules=ADAPTED.format(layers="|".join(map(str, range(max(self._layers))))),
        )
        self._model: Any = get_peft_model(model, config).to(device)
        self._model.eval()
        self._texts = [normalise(text) for text in texts]
        self._longest = min(LONGEST_TEXT_TOKENS, int(getattr(model.config, "max_position_embeddings", 512)))
        self._device = device
        width = len(self._layers) * int(model.config.hidden_size)
        self._head = torch.zeros(width, device=device, requires_grad=True)
        self._bias = torch.zeros((), device=device, requires_grad=True)
        self._middle = torch.zeros(width, device=device)
        self._scale = torch.ones(width, device=device)

    def score(self, _u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Log odds (up to a level) of the texts whose numbers are in v, shape (n, 1)."""
        numbers = v[:, 0].long().tolist()
        return ((self._states(numbers) - self._middle) * self._scale) @ self._head + self._bias

    def centre(self, numbers: Sequence[int], *, batch_size: int = 64) -> Floats:
        """Fix centre and scale by these texts, and return a standardised row for every text."""
        import torch

        by_length = sorted(range(len(self._texts)), key=lambda number: len(self._texts[number]))
        raw = np.empty((len(self._texts), len(self._middle)), dtype=np.float32)
        with torch.no_grad():
            for start in range(0, len(by_length), batch_size):
                rows = by_length[start : start + batch_size]
                raw[rows] = self._states(rows).cpu().numpy()
        middle = raw[list(numbers)].mean(axis=0)
        spread = ((raw[list(numbers)] - middle) ** 2).mean(axis=0).reshape(len(self._layers), -1)
        length = np.sqrt(spread.sum(axis=1, keepdims=True))
        scale = (LAYER_LENGTH / np.where(length > 0, length, 1.0)).repeat(spread.shape[1], axis=1).ravel()
        self._middle.copy_(torch.from_numpy(middle))
        self._scale.copy_(torch.from_numpy(scale))
        standardised: Floats = (raw.astype(np.float64) - middle) * scale
        return standardised

    def set_head(self, weights: Floats, bias: float) -> None:
        """The head's weights on standardised states."""
        import torch

        self._head.data.copy_(torch.from_numpy(weights))
        self._bias.data.fill_(bias)

    def head_parameters(self) -> list[torch.Tensor]:
        """Weights and bias of the head."""
        return [self._head, self._bias]

    def adapter_parameters(self) -> list[torch.Tensor]:
        """The low-rank matrices."""
        return [parameter for parameter in self._model.parameters() if parameter.requires_grad]

    def parameters(self) -> list[torch.Tensor]:
        """All that learns."""
        return [*self.adapter_parameters(), *self.head_parameters()]

    def state(self) -> dict[str, torch.Tensor]:
        """A copy of all that learns, and of what the head's weights refer to."""
        return {name: value.detach().cpu().clone().contiguous() for name, value in self._named().items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Set it to an earlier copy."""
        for name, value in self._named().items():
            value.data.copy_(state[name])

    def save(self, folder: Path) -> None:
        """peft's files, and nothing else."""
        shutil.rmtree(folder, ignore_errors=True)
        self._model.save_pretrained(str(folder), safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # a card without content

    def _named(self) -> dict[str, torch.Tensor]:
        learning = {name: value for name, value in self._model.named_parameters() if value.requires_grad}
        head = {"head": self._head, "bias": self._bias, "middle": self._middle, "scale": self._scale}
        return {**learning, **head}

    def _states(self, numbers: Sequence[int]) -> torch.Tensor:
        """Mean token states of the wanted layers side by side; bfloat16 products on a GPU, float32 elsewhere."""
        import torch

        tokens = self._tokenizer(
            [self._texts[number] for number in numbers],
            padding=True,
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        ).to(self._device)
        kind = self._device.split(":", maxsplit=1)[0]
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
            states = self._model(**tokens, output_hidden_states=True).hidden_states
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        pooled = [(states[layer].float() * mask).sum(1) / mask.sum(1) for layer in self._layers]
        return torch.cat(pooled, dim=1)


def write_merged(base: Path, adapter: Path, folder: Path) -> None:
    """The base transformer with an adapter's weights added to its own, as a folder that `Encoder.load` reads."""
    from peft import PeftModel

    model, tokenizer = _load(base)
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    # Vectors are cached by configuration and size of the weights, which two adapters of one base share.
    merged.config.adapter = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()
    merged.save_pretrained(str(folder), safe_serialization=True)
    tokenizer.save_pretrained(str(folder))
    copy_beside(base, folder)


def _load(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer, logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        model = AutoModel.from_pretrained(str(folder), dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise EncoderError(f"{folder} holds no usable transformer: {str(error).splitlines()[0]}") from error
    return model, tokenizer
