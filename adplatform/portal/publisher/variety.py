"""How varied the ads are that a visitor of the publisher sees, and what more variety would cost in revenue."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from adplatform.accounts.models import Membership, Organisation
from adplatform.core import clock
from adplatform.insights import variety as seen
from adplatform.inventory.models import Site
from adplatform.inventory.queries import sites_of
from adplatform.portal import pages

FRESH_SECONDS = 900  # the replay takes a second or two, and a week of choices moves slowly


@pages.page(pages.PUBLISHER)
def variety(request: HttpRequest, membership: Membership) -> HttpResponse:
    publisher, at = membership.organisation, clock.now()
    sites = list(sites_of(publisher))
    present = _present(sites)
    found = _curve(publisher)
    context = {
        "section": "variety",
        "organisation": publisher,
        "membership": membership,
        "sites": sites,
        "present": present,
        "advertisers": seen.advertisers(publisher, at=at),
        "categories": seen.categories(publisher, at=at),
        "found": found,
        "points": _against(found["points"], present),
    }
    return render(request, "portal/publisher/variety.html", context)


@pages.page(pages.PUBLISHER)
def chart(_request: HttpRequest, membership: Membership) -> JsonResponse:
    publisher = membership.organisation
    present = _present(list(sites_of(publisher)))
    points = _curve(publisher)["points"]
    return JsonResponse(seen.figure(points, present=present, currency=publisher.currency))


def _present(sites: list[Site]) -> float:
    """The mean weight of the sites."""
    return sum(site.variety for site in sites) / len(sites) if sites else 0.0


def _against(points: list[dict[str, Any]], present: float) -> list[dict[str, Any]]:
    """Each weight with its difference to the one that is nearest to the present."""
    if not points:
        return []
    base = min(points, key=lambda point: abs(point["weight"] - present))
    return [
        point
        | {
            "is_present": point is base,
            "micros": round(point["revenue"] * 1e6),
            "revenue_change": point["revenue"] / base["revenue"] - 1 if base["revenue"] else None,
            "effective_change": point["effective"] / base["effective"] - 1,
        }
        for point in points
    ]


def _curve(publisher: Organisation) -> dict[str, Any]:
    from adplatform.learning import variety as replayed  # numpy: only where it is needed

    key = f"variety:{publisher.pk}"
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        found = replayed.curve(publisher, currency=publisher.currency, until=clock.now())
        cache.set(key, found, FRESH_SECONDS)
    return found
