"""POST /v1/decisions: who asks, what is answered, which pages may read it."""

from __future__ import annotations

import logging
import time
from datetime import datetime

import msgspec

from adplatform import settings
from adplatform.accounts import keys
from adplatform.core import clock, ids
from adplatform.core.http import Environ, Response, TooLargeError, read_body
from adplatform.decision.types import AdRequest, Placement

from .. import process
from ..decide import Answer, as_json, unanswered
from ..parse import MOST_PLACEMENTS, MalformedError, read
from ..server import Server
from ..snapshot import Snapshot
from .answers import NO_STORE, encode, refusal

log = logging.getLogger(__name__)

MOST_BODY_BYTES = 64 * 1024


class _Placement(msgspec.Struct):
    id: str
    slot: str = ""


class _Asked(msgspec.Struct):
    """Of a request that is not decided: whom to answer, for which places."""

    placements: list[_Placement]


_places = msgspec.json.Decoder(_Asked).decode


def decisions(environ: Environ, _: str) -> Response:
    """POST /v1/decisions, and the preflight that browsers send before it."""
    started = time.perf_counter()
    serving = process.server()
    snapshot = serving.snapshot
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return _preflight(environ, snapshot)
    try:
        body = read_body(environ, limit=MOST_BODY_BYTES)
    except TooLargeError:
        serving.metrics.count("refused", "malformed")
        detail = f"At most {MOST_BODY_BYTES} bytes are read."
        return refusal(400, "too_large", detail, cors=_cors(environ, snapshot))
    if not serving.admission.enter():
        serving.metrics.count("decisions", "shed")
        return _undecided(environ, body, snapshot, "shed")
    entered = time.perf_counter()
    try:
        return _answered(environ, serving, body, snapshot, started)
    except Exception:  # an ad is never worth a page that does not load; the error is counted and told
        log.exception("a decision failed outside the decision")
        serving.metrics.count("errors")
        return _undecided(environ, body, snapshot, "error")
    finally:
        serving.admission.leave(time.perf_counter() - entered)


def _answered(
    environ: Environ, serving: Server, body: bytes, snapshot: Snapshot | None, started: float
) -> Response:
    try:
        answered = _decided(environ, serving, body, snapshot, started)
    except MalformedError as error:
        serving.metrics.count("refused", "malformed")
        return refusal(400, error.code, error.detail, cors=_cors(environ, snapshot))
    encoded = encode(as_json(answered, snapshot=snapshot, base_url=settings.ADS_URL))
    _count(serving, answered)
    serving.metrics.observe(time.perf_counter() - started)
    return Response(200, encoded, headers=(*NO_STORE, *_cors(environ, snapshot)))


def _undecided(environ: Environ, body: bytes, snapshot: Snapshot | None, mode: str) -> Response:
    """No paid ad in any placement, and at once; what the publisher shows instead is known without a decision."""
    try:
        asked = _places(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        asked = _Asked([])
    slots = snapshot.slots if snapshot else {}
    at = clock.now()
    request = AdRequest(
        request_id=ids.decision_id(at),
        at=at,
        placements=tuple(
            Placement(one.id, slots.get(one.slot)) for one in asked.placements[:MOST_PLACEMENTS]
        ),
    )
    answer = unanswered(request, mode=mode, reason=mode, snapshot=snapshot)
    encoded = encode(as_json(answer, snapshot=snapshot, base_url=settings.ADS_URL))
    return Response(200, encoded, headers=(*NO_STORE, *_cors(environ, snapshot)))


def _decided(
    environ: Environ, serving: Server, body: bytes, snapshot: Snapshot | None, started: float
) -> Answer:
    at = clock.now()
    asked = read(
        body,
        environ,
        snapshot,
        scopes=scopes_of(environ, snapshot, at),
        at=at,
        request_id=ids.decision_id(at),
        country=_country(environ),
    )
    return serving.decide(asked, started=started)


def scopes_of(environ: Environ, snapshot: Snapshot | None, at: datetime) -> list[str] | None:
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
