"""Answers that several endpoints give."""

from __future__ import annotations

from base64 import b64decode

import msgspec

from adplatform.core.http import Response

NO_STORE = (("Cache-Control", "no-store"),)
NOT_FOUND = Response(404, b'{"error":"not_found","detail":"There is nothing here."}')
GIF = Response(
    200, b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"), "image/gif", NO_STORE
)
encode = msgspec.json.Encoder().encode


def refusal(status: int, code: str, detail: str, *, cors: tuple[tuple[str, str], ...] = ()) -> Response:
    """A refusal that a program and a person can read."""
    return Response(status, encode({"error": code, "detail": detail}), headers=(*NO_STORE, *cors))
