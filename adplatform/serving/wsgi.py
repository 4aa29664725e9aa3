"""The hot endpoints as plain WSGI: decisions, impressions, views, clicks, feedback, pixels, the publisher tag, health.

    application   the ads role: this and nothing else
    respond       the pages role calls it first; None means that Django answers

No Django here, and nothing that loads it: a test starts this module alone and looks at what came along.
"""

from __future__ import annotations

import logging
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from datetime import datetime
from multiprocessing.util import Finalize
from urllib.parse import parse_qsl

import msgspec

from adplatform import settings
from adplatform.accounts import keys
from adplatform.core import clock, ids
from adplatform.core.http import (
    Environ,
    Response,
    StartResponse,
    TooLargeError,
    is_declared_bot,
    read_body,
)
from adplatform.events.records import FeedbackGiven, PixelConversion, Served
from adplatform.events.stream import NotStoredError
from adplatform.learning.hidden import KINDS, MOST_TURNS

from . import render
from .decide import Answer, as_json
from .parse import MalformedError, read
from .server import Server
from .snapshot import Snapshot
from .tokens import WHY, ForgedError, click_of, signer

log = logging.getLogger(__name__)

MOST_BODY_BYTES = 64 * 1024
MOST_FORM_BYTES = 1_024
_GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NO_STORE = (("Cache-Control", "no-store"),)
_json = msgspec.json.Encoder().encode
_NOT_FOUND = Response(404, b'{"error":"not_found","detail":"There is nothing here."}')

_server: Server | None = None
_lock = threading.Lock()


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The whole of the ads role."""
    answered = respond(environ, start_response)
    if answered is not None:
        return answered
    path: str = environ.get("PATH_INFO", "")
    missing = _elsewhere(path) if path.startswith(WHY) else _NOT_FOUND
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
        return _error(405, "method_not_allowed", f"{method} is not answered here.").send(start_response)
    try:
        answered = endpoint.answer(environ, rest)
    except Exception:  # whatever it was, a page that shows ads goes on, and the error is counted and told
        log.exception("%s failed", path)
        answered = _failed(endpoint)
    return answered.send(start_response)


def _failed(endpoint: _Endpoint) -> Response:
    if _server is not None:
        _server.metrics.count("errors")
    if endpoint.answer is decisions:
        return Response(200, _json({"request_id": "", "mode": "error", "placements": {}}), headers=_NO_STORE)
    return _error(503, "error", "This could not be answered. Send it again.")


def server() -> Server:
    """The process's server, started by the first request: after a fork, never before."""
    global _server  # noqa: PLW0603 - one per process
    if _server is None:
        with _lock:
            if _server is None:
                started = Server.from_settings()
                started.start()
                # A clean stop loses no decision. granian's workers are multiprocessing's children, which skip atexit.
                Finalize(None, started.close, exitpriority=10)
                _server = started
    return _server


# --- decisions --------------------------------------------------------------------------------------------------------


def decisions(environ: Environ, _: str) -> Response:
    """POST /v1/decisions, and the preflight that browsers send before it."""
    started = time.perf_counter()
    serving = server()
    snapshot = serving.snapshot
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return _preflight(environ, snapshot)
    at = clock.now()
    try:
        answered = _decided(environ, serving, snapshot, at)
    except MalformedError as error:
        serving.metrics.count("refused", "malformed")
        return _error(400, error.code, error.detail, cors=_cors(environ, snapshot))
    body = as_json(answered, snapshot=snapshot, base_url=settings.ADS_URL)
    _count(serving, answered)
    serving.metrics.observe(time.perf_counter() - started)
    return Response(200, _json(body), headers=(*_NO_STORE, *_cors(environ, snapshot)))


def _decided(environ: Environ, serving: Server, snapshot: Snapshot | None, at: datetime) -> Answer:
    try:
        body = read_body(environ, limit=MOST_BODY_BYTES)
    except TooLargeError:
        raise MalformedError("too_large", f"At most {MOST_BODY_BYTES} bytes are read.") from None
    asked = read(
        body,
        environ,
        snapshot,
        scopes=_scopes(environ, snapshot, at),
        at=at,
        request_id=ids.decision_id(at),
        country=_country(environ),
    )
    return serving.decide(asked)


def _scopes(environ: Environ, snapshot: Snapshot | None, at: datetime) -> list[str] | None:
    """What a valid API key of this request may do; None without one."""
    kind, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if kind.lower() != "bearer" or snapshot is None:
        return None
    prefix, secret = keys.split(key)
    row = snapshot.keys.get(prefix)
    if row is None or (row.expires_at is not None and row.expires_at <= at):
        return None
    return row.scopes if keys.matches(secret, row.secret_sha256) else None


def _country(environ: Environ) -> str:
    """As a trusted proxy found it; otherwise unknown."""
    country = environ.get("HTTP_X_COUNTRY_CODE", "") if settings.TRUST_PROXY else ""
    return country.upper() if len(country) == 2 and country.isascii() and country.isalpha() else ""


def _cors(environ: Environ, snapshot: Snapshot | None) -> tuple[tuple[str, str], ...]:
    """Pages of our publishers' sites, and our own, may read the answer."""
    origin = environ.get("HTTP_ORIGIN", "")
    if not origin:
        return ()
    is_ours = origin in (settings.BASE_URL, settings.ADS_URL)
    if is_ours or (snapshot is not None and snapshot.allows_origin(origin)):
        return (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))
    return (("Vary", "Origin"),)


def _preflight(environ: Environ, snapshot: Snapshot | None) -> Response:
    allowed = _cors(environ, snapshot)
    if len(allowed) < 2:
        return Response(204, headers=allowed)
    more = (
        ("Access-Control-Allow-Methods", "POST"),
        ("Access-Control-Allow-Headers", "Content-Type, Authorization"),
        ("Access-Control-Max-Age", "86400"),
    )
    return Response(204, headers=(*allowed, *more))


def _count(serving: Server, answered: Answer) -> None:
    serving.metrics.count("decisions", answered.mode)
    for filled in answered.filled:
        serving.metrics.count("placements", filled.no_ad or "filled")


# --- events -----------------------------------------------------------------------------------------------------------


def impression(environ: Environ, token: str) -> Response:
    return _gif_event(environ, "impression", token)


def view(environ: Environ, token: str) -> Response:
    return _gif_event(environ, "view", token)


def click(environ: Environ, token: str) -> Response:
    """Redirects in any case: a person is waiting. What cannot be stored is counted and not billed."""
    serving = server()
    try:
        served = signer.read("click", token)
    except ForgedError:
        return _forged(serving)
    landing = _landing(serving, served)
    if not landing:
        return _NOT_FOUND
    try:
        serving.record("click", served, at=clock.now(), agent=_agent(environ))
        serving.metrics.count("events", "click")
    except NotStoredError:
        serving.metrics.count("refused", "click_not_stored")
    location = landing.replace("{click_id}", token)
    return Response(302, headers=(("Location", location), ("Referrer-Policy", "origin"), *_NO_STORE))


def pixel(environ: Environ, _: str) -> Response:
    """GET /e/conv?action=…&event_id=…[&click_id=…][&advertiser=…][&value_micros=…][&currency=…]"""
    serving = server()
    given = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    try:
        conversion = _conversion(given, clock.now())
    except ValueError as error:
        serving.metrics.count("refused", "malformed")
        return _error(400, "invalid_request", str(error))
    try:
        serving.record_pixel(conversion)
    except NotStoredError:
        return _not_stored(serving)
    serving.metrics.count("events", "pixel")
    return Response(200, _GIF, "image/gif", _NO_STORE)


def _gif_event(environ: Environ, kind: str, token: str) -> Response:
    serving = server()
    try:
        served = signer.read(kind, token)
    except ForgedError:
        return _forged(serving)
    try:
        serving.record(kind, served, at=clock.now(), agent=_agent(environ))
    except NotStoredError:
        return _not_stored(serving)
    serving.metrics.count("events", kind)
    return Response(200, _GIF, "image/gif", _NO_STORE)


def _conversion(given: dict[str, str], at: datetime) -> PixelConversion:
    action, event_id = given.get("action", ""), given.get("event_id", "")
    if not (0 < len(action) <= 60 and 0 < len(event_id) <= 120 and (action + event_id).isprintable()):
        raise ValueError("action (at most 60 letters) and event_id (at most 120) are needed.")
    value, currency = given.get("value_micros", ""), given.get("currency", "")
    if value and not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise ValueError("value_micros is a whole number of micros.")
    if currency and not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise ValueError("currency is a code of three capitals such as EUR.")
    proven = click_of(given["click_id"]) if given.get("click_id") else None
    advertiser = given.get("advertiser", "")[:36]
    if proven is None and not advertiser:
        raise ValueError("A click_id that we signed, or advertiser, is needed.")
    return PixelConversion(action, event_id, at, advertiser, proven, int(value) if value else None, currency)


def _landing(serving: Server, served: Served) -> str:
    """The registered page as it is now; for an ad that is no longer served, as it was then."""
    snapshot = serving.snapshot
    return (snapshot.landing_url(served.creative_id) if snapshot else "") or served.landing_url


def _agent(environ: Environ) -> str:
    return "bot" if is_declared_bot(environ.get("HTTP_USER_AGENT", "")) else ""


def _forged(serving: Server) -> Response:
    serving.metrics.count("refused", "forged")
    return _NOT_FOUND


def _not_stored(serving: Server) -> Response:
    serving.metrics.count("refused", "not_stored")
    return _error(503, "not_stored", "The event could not be stored. Send it again.")


# --- what visitors say about an ad ------------------------------------------------------------------------------------


def feedback(environ: Environ, token: str) -> Response:
    """POST /e/f/T with kind, turn and given (1 or 0), from the form of the page that says why; leads back to it.

    The token is in that page alone, so that no other site can speak for a visitor, and no cookie is needed.
    """
    serving = server()
    try:
        served = signer.read("feedback", token)
    except ForgedError:
        return _forged(serving)
    at = clock.now()
    if served.expires_at <= at:
        return _error(410, "expired", "The ad was shown too long ago.")
    try:
        said = _said(read_body(environ, limit=MOST_FORM_BYTES), served, at)
    except (ValueError, TooLargeError):
        serving.metrics.count("refused", "malformed")
        return _error(
            400, "invalid_request", f"kind, turn (0 to {MOST_TURNS - 1}) and given (0 or 1) are needed."
        )
    try:
        serving.record_feedback(said)
    except NotStoredError:
        return _not_stored(serving)
    serving.metrics.count("events", "feedback")
    return Response(303, headers=(("Location", f"{WHY}{signer.sign('why', served)}"), *_NO_STORE))


def _said(body: bytes, served: Served, at: datetime) -> FeedbackGiven:
    given = dict(parse_qsl(body.decode("ascii")))
    kind, turn, is_given = given.get("kind", ""), given.get("turn", ""), given.get("given", "")
    if kind not in KINDS or is_given not in ("0", "1") or not (turn.isdigit() and int(turn) < MOST_TURNS):
        raise ValueError("malformed")
    return FeedbackGiven(kind, served, at, int(turn), is_given == "1")


def _elsewhere(path: str) -> Response:
    """The page that says why is the pages role's."""
    return Response(302, headers=(("Location", f"{settings.BASE_URL}{path}"), *_NO_STORE))


# --- the tag ----------------------------------------------------------------------------------------------------------


def tag(_: Environ, __: str) -> Response:
    headers = (("Cache-Control", "public, max-age=3600"), ("X-Content-Type-Options", "nosniff"))
    return Response(200, render.asset("v1.js"), "text/javascript; charset=utf-8", headers)


def stylesheet(_: Environ, __: str) -> Response:
    headers = (("Cache-Control", "public, max-age=3600"), ("X-Content-Type-Options", "nosniff"))
    return Response(200, render.asset("v1.css"), "text/css; charset=utf-8", headers)


# --- health -----------------------------------------------------------------------------------------------------------


def livez(_: Environ, __: str) -> Response:
    return Response(200, b'{"status":"ok"}', headers=_NO_STORE)


def readyz(_: Environ, __: str) -> Response:
    """Ready when there is a snapshot to serve from and events can be stored."""
    serving = server()
    snapshot = serving.snapshot
    state = {
        "snapshot": snapshot.version if snapshot else None,
        "events": serving.stream.is_up(),
        "status": "ok" if snapshot else "no snapshot",
    }
    return Response(200 if snapshot else 503, _json(state), headers=_NO_STORE)


def metrics(_: Environ, __: str) -> Response:
    serving = server()
    snapshot, now = serving.snapshot, clock.now()
    gauges = {
        "adplatform_snapshot_age_seconds": (now - snapshot.built_at).total_seconds() if snapshot else -1.0,
        "adplatform_snapshot_ads": float(len(snapshot.candidates)) if snapshot else 0.0,
        "adplatform_snapshots_refused": float(serving.snapshots.refused),
        "adplatform_statistics_age_seconds": now.timestamp() - serving.statistics_at,
        "adplatform_counters_age_seconds": now.timestamp() - serving.statistics.view.until,
        "adplatform_decisions_waiting": float(serving.stream.waiting),
        "adplatform_decisions_dropped": float(serving.stream.dropped),
        "adplatform_events_spooled": float(serving.stream.spooled),
        "adplatform_spool_bytes": float(serving.stream.spool_bytes),
        "adplatform_valkey_failures": float(serving.visitors.failures),
    }
    return Response(200, serving.metrics.text(gauges).encode(), "text/plain; version=0.0.4", _NO_STORE)


def _error(status: int, code: str, detail: str, *, cors: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, _json({"error": code, "detail": detail}), headers=(*_NO_STORE, *cors))


class _Endpoint(msgspec.Struct, frozen=True):
    answer: Callable[[Environ, str], Response]
    methods: frozenset[str] = frozenset({"GET", "HEAD"})


_EXACT = {
    "/v1/decisions": _Endpoint(decisions, frozenset({"POST", "OPTIONS"})),
    "/e/conv": _Endpoint(pixel, frozenset({"GET"})),
    "/tag/v1.js": _Endpoint(tag),
    "/tag/v1.css": _Endpoint(stylesheet),
    "/livez": _Endpoint(livez),
    "/readyz": _Endpoint(readyz),
    "/metrics": _Endpoint(metrics),
}
_PREFIXES = (
    ("/e/i/", _Endpoint(impression, frozenset({"GET"}))),
    ("/e/v/", _Endpoint(view, frozenset({"GET"}))),
    ("/c/", _Endpoint(click, frozenset({"GET"}))),
    ("/e/f/", _Endpoint(feedback, frozenset({"POST"}))),
)
