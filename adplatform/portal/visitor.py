"""The page behind "Why this ad?": for the visitor who saw it, without sign-in, cookie or script.

The signed token in its address says which decision is meant, and expires with it. What is said there goes to the event
endpoint POST /e/f/T, which leads back here.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from adplatform.campaigns.models import Creative
from adplatform.core import clock
from adplatform.events.records import Served
from adplatform.events.stream import connect
from adplatform.learning import hidden
from adplatform.serving.tokens import ForgedError, signer

LABELS: dict[str, tuple[str | Promise, str | Promise]] = {
    hidden.NOT_INTERESTED: (_("Not interested"), _("Hide this ad, and show fewer about the same things")),
    hidden.SEEN_TOO_OFTEN: (_("Seen too often"), _("Do not show this ad for a week")),
    hidden.HIDE_ADVERTISER: (_("Hide this advertiser"), _("Show nothing by this advertiser for 90 days")),
    hidden.MORE_LIKE_THIS: (_("More like this"), _("Show more about the same things")),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that the visitor may say, or take back."""

    kind: str
    label: str
    effect: str
    turn: int
    holds: bool

    @property
    def is_possible(self) -> bool:
        return self.turn < hidden.MOST_TURNS


@require_safe
def why(request: HttpRequest, token: str) -> HttpResponse:
    """Says why; 404 for what we never signed, 410 once the ad is a day old."""
    try:
        served = signer.read("why", token)
    except ForgedError:
        return _answer(request, {"state": "unknown"}, status=404)
    if served.expires_at <= clock.now():
        return _answer(request, {"state": "expired"}, status=410)
    return _answer(request, _context(served))


def _context(served: Served) -> dict[str, object]:
    from adplatform.learning import explain, words  # numpy and the models' code: only where it is needed

    creative = Creative.objects.select_related("line_item__campaign__organisation").get(pk=served.creative_id)
    found = explain.decision(served.decision_id.hex())
    reasons = words.for_visitor(explain.explained(found, nearest=True)) if found else []
    return {
        "state": "told" if found else "early",
        "creative": creative,
        "advertiser": creative.line_item.campaign.organisation.name,
        "served_at": served.served_at,
        "reasons": reasons,
        "is_personal": bool(served.visitor),
        "choices": _choices(served.decision_id.hex()),
        "reach": words.reach(creative),
        "token": signer.sign("feedback", served),
    }


def _choices(decision_id: str) -> list[Choice]:
    try:
        known = hidden.holding(connect(settings.REDIS_URL), decision_id)
    except (redis.RedisError, OSError):
        known = {}  # the buttons work all the same; what was said before is not shown
    return [
        Choice(
            kind,
            str(label),
            str(effect),
            known[kind][0] + 1 if kind in known else 0,
            known.get(kind, (0, False))[1],
        )
        for kind, (label, effect) in LABELS.items()
    ]


def _answer(request: HttpRequest, context: dict[str, object], *, status: int = 200) -> HttpResponse:
    answer = render(request, "ads/why.html", context, status=status)
    answer["Cache-Control"] = "no-store"
    answer["Referrer-Policy"] = "no-referrer"
    answer["X-Robots-Tag"] = "noindex"
    return answer
