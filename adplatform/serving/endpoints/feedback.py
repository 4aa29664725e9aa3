"""What visitors say about an ad, from the page that says why they saw it."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl

from adplatform import settings
from adplatform.core import clock
from adplatform.core.http import Environ, Response, TooLargeError, read_body
from adplatform.events.records import FeedbackGiven, Served
from adplatform.events.stream import NotStoredError
from adplatform.learning.hidden import KINDS, MOST_TURNS

from .. import process
from ..tokens import WHY, ForgedError, signer
from .answers import NO_STORE, refusal
from .events import forged, not_stored

MOST_FORM_BYTES = 1_024


def feedback(environ: Environ, token: str) -> Response:
    """POST /e/f/T with kind, turn and given (1 or 0), from the form of the page that says why; leads back to it.

    The token is in that page alone, so that no other site can speak for a visitor, and no cookie is needed.
    """
    serving = process.server()
    try:
        served = signer.read("feedback", token)
    except ForgedError:
        return forged(serving)
    at = clock.now()
    if served.expires_at <= at:
        return refusal(410, "expired", "The ad was shown too long ago.")
    try:
        said = _said(read_body(environ, limit=MOST_FORM_BYTES), served, at)
    except (ValueError, TooLargeError):
        serving.metrics.count("refused", "malformed")
        return refusal(
            400, "invalid_request", f"kind, turn (0 to {MOST_TURNS - 1}) and given (0 or 1) are needed."
        )
    try:
        serving.record_feedback(said)
    except NotStoredError:
        return not_stored(serving)
    serving.metrics.count("events", "feedback")
    return Response(303, headers=(("Location", f"{WHY}{signer.sign('why', served)}"), *NO_STORE))


def _said(body: bytes, served: Served, at: datetime) -> FeedbackGiven:
    given = dict(parse_qsl(body.decode("ascii")))
    kind, turn, is_given = given.get("kind", ""), given.get("turn", ""), given.get("given", "")
    if kind not in KINDS or is_given not in ("0", "1") or not (turn.isdigit() and int(turn) < MOST_TURNS):
        raise ValueError("malformed")
    return FeedbackGiven(kind, served, at, int(turn), is_given == "1")


def elsewhere(path: str) -> Response:
    """The page that says why is the pages role's."""
    return Response(302, headers=(("Location", f"{settings.BASE_URL}{path}"), *NO_STORE))
