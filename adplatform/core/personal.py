"""Words that look like somebody rather than something: page keywords that are dropped before anything is kept.

E-mail addresses, addresses of computers, telephone and account numbers, street addresses. A bare name cannot be told
from a topic: publishers must not send any (docs/privacy.md). No Django here.
"""

from __future__ import annotations

import re
from functools import lru_cache

_FEWEST_DIGITS = 7  # of a telephone, account or customer number; a date of eight digits falls with them
_COMPUTER = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{0,4}\b", re.IGNORECASE)
_STREET = r"street|road|avenue|lane|drive|platz|allee|gasse|weg|rue|via|calle|(?:[a-zäöü]*stra(?:ß|ss)e)|[a-zäöü]+str\."
_HOUSE = re.compile(rf"\d+\s+(?:[\w.-]+\s+){{0,3}}(?:{_STREET})\b|(?:{_STREET})\s+\d+", re.IGNORECASE)


@lru_cache(maxsize=8_192)
def is_personal(words: str) -> bool:
    """Whether a keyword holds what belongs to a person."""
    if "@" in words:
        return True
    digits = sum(letter.isdigit() for letter in words)
    if not digits:
        return False
    return digits >= _FEWEST_DIGITS or bool(_COMPUTER.search(words) or _HOUSE.search(words))
