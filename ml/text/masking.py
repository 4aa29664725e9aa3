"""Texts with masked words, and a transformer with a head that guesses them (Devlin et al. 2018).

Sentence transformers come without that head. Ours is fresh: one layer that starts as the identity, then the
transformer's own word embeddings (tied) with the words' frequencies as biases; only masked positions pay for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.schema import Ints
from ml.text.encoder import EncoderError

if TYPE_CHECKING:
    import torch

MASKED = 0.15
KEPT, SWAPPED = 0.1, 0.1  # of the masked words: shown as they are, shown as any other word


@dataclass(frozen=True)
class Masked:
    """A batch with masked words: token ids (n, longest), their attention, and which positions to guess as what."""

    tokens: Ints
    attention: Ints
    row: Ints
    column: Ints
    word: Ints


def mask_words(
    texts: Sequence[Ints], *, mask: int, padding: int, words: int, rng: np.random.Generator
) -> Masked:
    """Mask 15 % of each text's words, at least one. The first and last token of a text are marks, never masked."""
    tokens = np.full((len(texts), max(map(len, texts))), padding, dtype=np.int64)
    attention = np.zeros_like(tokens)
    rows: list[Ints] = []
    columns: list[Ints] = []
    for place, text in enumerate(texts):
        tokens[place, : len(text)] = text
        attention[place, : len(text)] = 1
        inside = len(text) - 2
        chosen = rng.permutation(inside)[: max(1, round(inside * MASKED))] + 1
        rows.append(np.full(len(chosen), place))
        columns.append(chosen)
    row, column = np.concatenate(rows), np.concatenate(columns)
    word = tokens[row, column].copy()
    draw = rng.random(len(word))
    other: Ints = np.where(draw < KEPT + SWAPPED, rng.integers(0, words, len(word)), mask)
    tokens[row, column] = np.where(draw < KEPT, word, other)
    return Masked(tokens, attention, row, column, word)


class MaskedNetwork:
    """The transformer and the head that guesses words from its last layer."""

    def __init__(self, base: Path, device: str) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer, logging

        logging.disable_progress_bar()
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(str(base))
            model = AutoModel.from_pretrained(str(base), dtype=torch.float32, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise EncoderError(f"{base} holds no usable transformer: {str(error).splitlines()[0]}") from error
        if self.tokenizer.mask_token_id is None:
            raise EncoderError(f"{base} has no word for what is masked")
        self.model: Any = model.to(device)
        self.device = device
        self.words = self.model.get_input_embeddings()
        width = int(self.words.weight.shape[1])
        self.head = torch.nn.ModuleDict(
            {"layer": torch.nn.Linear(width, width), "norm": torch.nn.LayerNorm(width)}
        ).to(device)
        torch.nn.init.eye_(self.head["layer"].weight)
        torch.nn.init.zeros_(self.head["layer"].bias)
        self.frequency = torch.nn.Parameter(torch.zeros(len(self.words.weight), device=device))

    def loss(self, batch: Masked, *, frozen: bool) -> torch.Tensor:
        """Summed over the masked words; bfloat16 products on a GPU. `frozen`: only the head learns."""
        import torch

        kind = self.device.split(":", maxsplit=1)[0]
        to = self.device
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                states = self.model(
                    input_ids=torch.from_numpy(batch.tokens).to(to),
                    attention_mask=torch.from_numpy(batch.attention).to(to),
                ).last_hidden_state
            found = states[torch.from_numpy(batch.row).to(to), torch.from_numpy(batch.column).to(to)]
            found = self.head["norm"](torch.nn.functional.gelu(self.head["layer"](found)))
            embeddings = self.words.weight.detach() if frozen else self.words.weight
            logits = found @ embeddings.T + self.frequency
        word = torch.from_numpy(batch.word).to(to)
        return torch.nn.functional.cross_entropy(logits.float(), word, reduction="sum")

    def learning(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Parameters of the transformer, and of the head."""
        return list(self.model.parameters()), [*self.head.parameters(), self.frequency]

    def state(self) -> dict[str, torch.Tensor]:
        """A copy of everything that learns."""
        return {name: value.detach().cpu().clone().contiguous() for name, value in self._named().items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Set it to an earlier copy."""
        for name, value in self._named().items():
            value.data.copy_(state[name])

    def _named(self) -> dict[str, torch.Tensor]:
        return {
            **{f"model.{name}": value for name, value in self.model.named_parameters()},
            **{f"head.{name}": value for name, value in self.head.named_parameters()},
            "frequency": self.frequency,
        }
