"""Encryption of single values at rest: AES-256-GCM, bound to the place where the value stands.

A sealed value is `enc1.{key id}.{nonce and ciphertext}`. The first of ENCRYPTION_KEYS seals, every one opens. The place
(table, column, row) is authenticated with it: a ciphertext that is copied to another row or column does not open there.
"""

from __future__ import annotations

import hashlib
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

PREFIX = "enc1."
_NONCE = 12


class UnreadableError(Exception):
    """The value was not sealed for this place, was changed, or its key is not among ENCRYPTION_KEYS."""


class Sealed(str):
    """A value as the database holds it."""

    __slots__ = ()


def key_id(key: str) -> str:
    return hashlib.sha256(b"key id " + key.encode()).hexdigest()[:8]


def place(table: str, column: str, row: object) -> bytes:
    return "\x1f".join((table, column, str(row))).encode()


def current_prefix() -> str:
    """How values begin that the first key sealed."""
    return f"{PREFIX}{key_id(settings.ENCRYPTION_KEYS[0])}."


def seal(plain: str, *, where: bytes) -> Sealed:
    nonce = os.urandom(_NONCE)
    cipher = _cipher(settings.ENCRYPTION_KEYS[0]).encrypt(nonce, plain.encode(), where)
    return Sealed(current_prefix() + urlsafe_b64encode(nonce + cipher).decode())


def unseal(sealed: str, *, where: bytes) -> str:
    """What was sealed, or UnreadableError."""
    known = {key_id(key): key for key in settings.ENCRYPTION_KEYS}
    name, _, body = sealed.removeprefix(PREFIX).partition(".")
    if not sealed.startswith(PREFIX) or name not in known:
        raise UnreadableError("no key of ENCRYPTION_KEYS sealed this value")
    try:
        raw = urlsafe_b64decode(body)
        return _cipher(known[name]).decrypt(raw[:_NONCE], raw[_NONCE:], where).decode()
    except (InvalidTag, ValueError) as error:
        raise UnreadableError("this value was changed, or sealed for another row or column") from error


def _cipher(key: str) -> AESGCM:
    return AESGCM(hashlib.sha256(key.encode()).digest())
