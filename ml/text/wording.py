"""What a headline looks like, apart from its meaning: eighteen plain measures of its form."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ml.schema import Floats

WORD = re.compile(r"[^\W\d_][\w']*")
OPENERS = {"how", "why", "what", "when", "who", "if"}
WE, YOU = {"i", "me", "my", "we", "our"}, {"you", "your"}
THEY, THIS = {"he", "his", "she", "her", "him", "they"}, {"this", "these", "that", "here"}


def measures(texts: Sequence[str]) -> Floats:
    """One standardised row per text: length, numbers, quotes, questions, pronouns."""
    raw = np.array([_measure(text) for text in texts], dtype=np.float64).reshape(len(texts), -1)
    spread = raw.std(axis=0)
    scaled: Floats = (raw - raw.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def _measure(text: str) -> list[float]:
    words = WORD.findall(text)
    low = [word.lower() for word in words]
    return [
        len(text),
        len(text) ** 2,
        len(words),
        sum(map(len, words)) / max(len(words), 1),
        any(character.isdigit() for character in text),
        "?" in text,
        "!" in text,
        '"' in text or "'" in text,
        text.count("."),
        "..." in text or "…" in text,
        ":" in text,
        "(" in text,
        sum(word.isupper() and len(word) > 1 for word in words),
        bool(low) and low[0] in OPENERS,
        sum(word in WE for word in low),
        sum(word in YOU for word in low),
        sum(word in THEY for word in low),
        sum(word in THIS for word in low),
    ]
