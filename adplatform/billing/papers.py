"""What issued papers say of people: sealed in the database, beside a digest of it in clear.

The database lets the sealed text be sealed anew when keys change, and nothing else about a paper. So the digest tells whether
a paper still says what was issued. A salt inside the text keeps anybody from trying names and accounts against the digest.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping

_SALT = "salt"


def closed(words: Mapping[str, str]) -> tuple[str, str]:
    """(text to be sealed, its SHA-256)."""
    text = json.dumps({**words, _SALT: secrets.token_hex(16)}, sort_keys=True)
    return text, digest(text)


def opened(text: str) -> dict[str, str]:
    """What the paper says."""
    words: dict[str, str] = json.loads(text)
    del words[_SALT]
    return words


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
