"""Who calls: an organisation's API key, and what the key may do.

A conversion may instead be signed, so that no key travels: the signing secret belongs to one key, is told to its
holder alone (GET /api/v1/signing-secret), and cannot be computed from what the database keeps.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from typing import cast

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest
from ninja.security import HttpBearer
from ninja.security.base import AuthBase

from adplatform.accounts.models import ApiKey, Organisation
from adplatform.accounts.services import authenticate
from adplatform.api.middleware import Admitted
from adplatform.api.problems import ProblemError
from adplatform.core import clock
from adplatform.core.tenants import tenant

USE_NOTED_EVERY = timedelta(minutes=1)
SIGNATURE_AGE = timedelta(minutes=5)


class Key(HttpBearer):
    """`Authorization: Bearer adp_….…` with a key that has the scope."""

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        if not (token.isascii() and token.isprintable()):
            return None
        at = clock.now()
        key = authenticate(token, at=at)
        return None if key is None else _admitted(request, key, self.scope, at)


class Signed(AuthBase):
    """`X-AdPlatform-Key`, `-Timestamp` (seconds since 1970), `-Signature`: HMAC-SHA256, in hex, of timestamp, a dot and
    the body under the key's signing secret."""

    openapi_type = "apiKey"
    openapi_name = "X-AdPlatform-Signature"
    openapi_in = "header"

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> ApiKey | None:
        prefix, stamp = (
            request.headers.get("X-AdPlatform-Key", ""),
            request.headers.get("X-AdPlatform-Timestamp", ""),
        )
        given, at = request.headers.get("X-AdPlatform-Signature", ""), clock.now()
        if not (prefix.isprintable() and given.isascii() and _is_recent(stamp, at)):
            return None
        key = (
            ApiKey.objects.select_related("organisation")
            .filter(prefix=prefix, organisation__is_active=True)
            .first()
        )
        if key is None or not _is_live(key, at):
            return None
        if not hmac.compare_digest(signature(signing_secret(key), stamp, request.body), given.lower()):
            return None
        return _admitted(request, key, self.scope, at)


def signing_secret(key: ApiKey) -> str:
    """The secret with which the holder of a key signs conversions."""
    words = f"conversions:{key.prefix}:{key.secret_sha256}"
    return hmac.digest(settings.SECRET_KEY.encode(), words.encode(), "sha256").hex()


def signature(secret: str, stamp: str, body: bytes) -> str:
    return hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()


def organisation_of(request: HttpRequest, kind: str | None = None) -> Organisation:
    """The caller's organisation; a problem where the endpoint is for the other kind."""
    organisation = key_of(request).organisation
    if kind is not None and organisation.kind != kind:
        raise ProblemError(403, "wrong_kind", f"This is for {kind}s; the key belongs to {organisation}.")
    return organisation


def key_of(request: HttpRequest) -> ApiKey:
    return cast(Admitted, request).auth


def _admitted(request: HttpRequest, key: ApiKey, scope: str, at: datetime) -> ApiKey:
    if "%00" in request.META.get("QUERY_STRING", ""):
        raise ProblemError(422, "invalid_request", "Text cannot hold the character NUL.")
    if scope not in key.scopes:
        raise ProblemError(403, "scope_missing", f"This key has no scope “{scope}”.")
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=at - USE_NOTED_EVERY)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=at)
    admitted = cast(Admitted, request)
    admitted.auth = key
    admitted.walls.enter_context(tenant(key.organisation))
    return key


def _is_live(key: ApiKey, at: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > at)


def _is_recent(stamp: str, at: datetime) -> bool:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return False
    return abs(at - datetime.fromtimestamp(int(stamp), tz=UTC)) <= SIGNATURE_AGE
