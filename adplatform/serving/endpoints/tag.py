"""The publisher tag's script and stylesheet."""

from __future__ import annotations

from adplatform.core.http import Environ, Response

from .. import render


def script(_: Environ, __: str) -> Response:
    headers = (("Cache-Control", "public, max-age=3600"), ("X-Content-Type-Options", "nosniff"))
    return Response(200, render.asset("v1.js"), "text/javascript; charset=utf-8", headers)


def stylesheet(_: Environ, __: str) -> Response:
    headers = (("Cache-Control", "public, max-age=3600"), ("X-Content-Type-Options", "nosniff"))
    return Response(200, render.asset("v1.css"), "text/css; charset=utf-8", headers)
