"""A signed cookie that tells the ads role which organisations its bearer belongs to, so that nobody pays, or is paid,
for his own click. It opens nothing, and without it a click is an ordinary one. No Django here."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable

import msgspec

from adplatform import settings

COOKIE = "adplatform_member"
SECONDS = 86_400
EVERYBODYS = 0  # an operator's: every ad is in some way the platform's own
_MAC = 12

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[int]).decode


def sign(organisation_ids: Iterable[int]) -> str:
    """The cookie of somebody who belongs to these."""
    packed = _encode(sorted(organisation_ids))
    return urlsafe_b64encode(packed + _mac(packed)).rstrip(b"=").decode()


def read(value: str) -> frozenset[int]:
    """The organisations that a cookie names; none where we did not sign it."""
    try:
        raw = urlsafe_b64decode(value.encode("ascii") + b"=" * (-len(value) % 4))
        packed, mac = raw[:-_MAC], raw[-_MAC:]
        return frozenset(_decode(packed)) if hmac.compare_digest(mac, _mac(packed)) else frozenset()
    except (Base64Error, UnicodeEncodeError, ValueError):
        return frozenset()


def is_member(cookies: str, *organisation_ids: int) -> bool:
    """Whether a request's cookies name one of these, or an operator."""
    if COOKIE not in cookies:
        return False
    found = (part.strip().partition("=") for part in cookies.split(";"))
    values = [value for name, _, value in found if name == COOKIE]
    return any(not read(value).isdisjoint({EVERYBODYS, *organisation_ids}) for value in values)


def _mac(packed: bytes) -> bytes:
    key = hmac.digest(settings.SECRET_KEY.encode(), b"adplatform member", "sha256")
    return hmac.digest(key, packed, "sha256")[:_MAC]
