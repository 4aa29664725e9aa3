"""The form of an API key: `adp_8kq2m4d7.…`. The part before the dot names the key, the part after it is the secret.

No Django here, so that the ads process can check keys from its snapshot.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

SECRET_BYTES = 32  # 256 bits: a plain SHA-256 of so much chance cannot be searched
SCOPES = {
    "read": "Read campaigns, creatives and reports",
    "write": "Create and change campaigns and creatives",
    "conversions": "Report conversions",
    "explain": "Ask ad decisions with their explanation and chosen context",
}


def new() -> tuple[str, str]:
    """(prefix, secret) of a fresh key."""
    return f"adp_{secrets.token_hex(4)}", secrets.token_urlsafe(SECRET_BYTES)


def join(prefix: str, secret: str) -> str:
    """The key as its owner keeps it and sends it: `Authorization: Bearer …`."""
    return f"{prefix}.{secret}"


def split(key: str) -> tuple[str, str]:
    """(prefix, secret); the secret of a malformed key is empty and matches nothing."""
    prefix, _, secret = key.strip().partition(".")
    return prefix, secret


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, secret_sha256: str) -> bool:
    """Whether it is that secret, in time that does not depend on where they differ."""
    return bool(secret) and hmac.compare_digest(digest(secret), secret_sha256)
