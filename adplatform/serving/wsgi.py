"""The hot endpoints as plain WSGI: decisions, impressions, views, clicks, feedback, pixels, the publisher tag, health.

    application   the ads role: this and nothing else
    respond       the pages role calls it first; None means that Django answers

No Django here, and nothing that loads it: a test starts this module alone and looks at what came along.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from adplatform.core.http import Environ, Response, StartResponse

from . import process
from .endpoints import decisions, events, feedback, health, tag
from .endpoints.answers import NO_STORE, NOT_FOUND, encode, refusal
from .tokens import WHY

log = logging.getLogger(__name__)


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The whole of the ads role."""
    answered = respond(environ, start_response)
    if answered is not None:
        return answered
    path: str = environ.get("PATH_INFO", "")
    missing = feedback.elsewhere(path) if path.startswith(WHY) else NOT_FOUND
    return missing.send(start_response)


def respond(environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
    """The answer of a hot endpoint, or None for any other path."""
    path: str = environ.get("PATH_INFO", "")
    endpoint = _EXACT.get(path)
    rest = ""
    if endpoint is None:
        for prefix, candidate in _PREFIXES:
            if path.startswith(prefix):
                endpoint, rest = candidate, path[len(prefix) :]
                break
        else:
            return None
    if (method := environ.get("REQUEST_METHOD", "GET")) not in endpoint.methods:
        return refusal(405, "method_not_allowed", f"{method} is not answered here.").send(start_response)
    try:
        answered = endpoint.answer(environ, rest)
    except Exception:  # whatever it was, a page that shows ads goes on, and the error is counted and told
        log.exception("%s failed", path)
        answered = _failed(endpoint)
    return answered.send(start_response)


def _failed(endpoint: _Endpoint) -> Response:
    if (serving := process.started()) is not None:
        serving.metrics.count("errors")
    if endpoint.answer is decisions.decisions:
        return Response(200, encode({"request_id": "", "mode": "error", "placements": {}}), headers=NO_STORE)
    return refusal(503, "error", "This could not be answered. Send it again.")


class _Endpoint(msgspec.Struct, frozen=True):
    answer: Callable[[Environ, str], Response]
    methods: frozenset[str] = frozenset({"GET", "HEAD"})


_EXACT = {
    "/v1/decisions": _Endpoint(decisions.decisions, frozenset({"POST", "OPTIONS"})),
    "/e/conv": _Endpoint(events.pixel, frozenset({"GET"})),
    "/tag/v1.js": _Endpoint(tag.script),
    "/tag/v1.css": _Endpoint(tag.stylesheet),
    "/livez": _Endpoint(health.livez),
    "/readyz": _Endpoint(health.readyz),
    "/metrics": _Endpoint(health.metrics),
}
_PREFIXES = (
    ("/e/i/", _Endpoint(events.impression, frozenset({"GET"}))),
    ("/e/v/", _Endpoint(events.view, frozenset({"GET"}))),
    ("/c/", _Endpoint(events.click, frozenset({"GET"}))),
    ("/e/f/", _Endpoint(feedback.feedback, frozenset({"POST"}))),
)
