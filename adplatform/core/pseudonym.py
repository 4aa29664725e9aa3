"""The keyed pseudonym under which a visitor's facts are stored. No Django: the ads process computes it too."""

from __future__ import annotations

import hmac
from hashlib import blake2b

from adplatform import settings


def pseudonym(user_id: str) -> str:
    """32 hex digits of HMAC-SHA256(PSEUDONYM_KEY, id): nobody without the key finds the id again."""
    return hmac.digest(settings.PSEUDONYM_KEY.encode(), user_id.encode(), "sha256").hex()[:32]


def page_key(url: str) -> str:
    """What is kept of the address of a page that somebody read: the same for the same page, and no address (keyed BLAKE2b).
    Addresses hold names, searches, e-mail addresses."""
    key = settings.PSEUDONYM_KEY.encode()[: blake2b.MAX_KEY_SIZE]
    return f"page:{blake2b(url.encode(), digest_size=16, key=key, person=b'page').hexdigest()}"
