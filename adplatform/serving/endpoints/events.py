"""What happens to an ad: impressions and views (a gif), clicks (a redirect), conversion pixels (a gif)."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl

from adplatform.core import clock
from adplatform.core.http import Environ, Response
from adplatform.events.records import PixelConversion, Served, TokenEvent, pack
from adplatform.events.stream import NotStoredError

from .. import agents, origins, process
from ..server import Server
from ..tokens import ForgedError, click_of, signer
from .answers import GIF, NO_STORE, NOT_FOUND, refusal
from .decisions import scopes_of

# What the tag may say that it measured (?m=…); see events.records.TokenEvent.
MEASURED = {
    "impression": frozenset({"yes", "hidden", "stacked"}),
    "view": frozenset({"display50", "display30", "video50"}),
    "click": frozenset[str](),
}


def impression(environ: Environ, token: str) -> Response:
    return _gif_event(environ, "impression", token)


def view(environ: Environ, token: str) -> Response:
    return _gif_event(environ, "view", token)


def click(environ: Environ, token: str) -> Response:
    """Redirects in any case: a person is waiting. What cannot be stored is counted and not billed."""
    serving = process.server()
    try:
        served = signer.read("click", token)
    except ForgedError:
        return forged(serving)
    landing = _landing(serving, served)
    if not landing:
        return NOT_FOUND
    try:
        record(serving, environ, "click", served)
        serving.metrics.count("events", "click")
    except NotStoredError:
        serving.metrics.count("refused", "click_not_stored")
    location = landing.replace("{click_id}", token)
    return Response(302, headers=(("Location", location), ("Referrer-Policy", "origin"), *NO_STORE))


def pixel(environ: Environ, _: str) -> Response:
    """GET /e/conv?action=…&event_id=…[&click_id=…][&advertiser=…][&value_micros=…][&currency=…]"""
    serving = process.server()
    given = dict(parse_qsl(environ.get("QUERY_STRING", "")))
    try:
        conversion = _conversion(given, clock.now())
    except ValueError as error:
        serving.metrics.count("refused", "malformed")
        return refusal(400, "invalid_request", str(error))
    try:
        serving.record_pixel(conversion)
    except NotStoredError:
        return not_stored(serving)
    serving.metrics.count("events", "pixel")
    return GIF


def _gif_event(environ: Environ, kind: str, token: str) -> Response:
    serving = process.server()
    try:
        served = signer.read(kind, token)
    except ForgedError:
        return forged(serving)
    try:
        record(serving, environ, kind, served)
    except NotStoredError:
        return not_stored(serving)
    serving.metrics.count("events", kind)
    return GIF


def record(serving: Server, environ: Environ, kind: str, served: Served) -> None:
    """Make an event durable with what its request says of who asks and where it came from; NotStoredError where
    nothing can hold it."""
    at = clock.now()
    # A publisher's server that reports for a reader says so by a key; then its own address and agent mean nothing.
    vouched = "HTTP_AUTHORIZATION" in environ and scopes_of(environ, serving.snapshot, at) is not None
    event = TokenEvent(
        kind,
        served,
        at,
        "" if vouched else agents.why_invalid(environ, served),
        b"" if vouched else origins.shared().of(agents.address_of(environ), at),
        _measured(kind, environ.get("QUERY_STRING", "")),
    )
    serving.stream.append(pack(event))
    serving.note(kind, served, at=at)


def _measured(kind: str, query: str) -> str:
    """What the tag says that it measured (`?m=…`), where it is something that can be said of this kind."""
    said = query[2:12] if query.startswith("m=") else ""
    return said if said in MEASURED[kind] else ""


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


def forged(serving: Server) -> Response:
    serving.metrics.count("refused", "forged")
    return NOT_FOUND


def not_stored(serving: Server) -> Response:
    serving.metrics.count("refused", "not_stored")
    return refusal(503, "not_stored", "The event could not be stored. Send it again.")
