"""More texts out of few, without a dictionary: words left out, neighbours swapped.

Measured with `python -m bench.augment`: it does not pay on headline tests (docs/ml.md), so that no training uses it.
It stays as the function that the measurement runs, on other data too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def drop_words(text: str, rng: np.random.Generator, *, share: float = 0.15) -> str:
    """Each word left out with this probability; at least one stays."""
    words = text.split()
    kept = [word for word, luck in zip(words, rng.random(len(words)), strict=True) if luck >= share]
    return " ".join(kept or words[:1])


def swap_words(text: str, rng: np.random.Generator) -> str:
    """Two neighbouring words change places."""
    words = text.split()
    if len(words) < 2:
        return text
    place = int(rng.integers(0, len(words) - 1))
    words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


WAYS: dict[str, Callable[[str, np.random.Generator], str]] = {"drop": drop_words, "swap": swap_words}


def augmented(texts: Sequence[str], way: str, *, seed: int) -> list[str]:
    """One changed copy of each text, the same for a seed."""
    rng = np.random.default_rng(seed)
    return [WAYS[way](text, rng) for text in texts]
