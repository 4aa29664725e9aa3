"""Attribution models side by side, and conversions from a file."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from adplatform.accounts.models import Membership
from adplatform.core import clock
from adplatform.events import conversion_files
from adplatform.events.shares import MODELS
from adplatform.insights import attribution as credited
from adplatform.portal import pages, ranges
from adplatform.serving.tokens import click_of

MOST_BYTES = 8 * 1024 * 1024
SHOWN_LINES = 20


@pages.page(pages.ADVERTISER)
def attribution(request: HttpRequest, membership: Membership) -> HttpResponse:
    return _page(request, membership)


@pages.page(pages.ADVERTISER)
def figure(request: HttpRequest, membership: Membership) -> JsonResponse:
    range = ranges.asked(request, membership.organisation)
    return JsonResponse(credited.figure(credited.by_campaign(membership.organisation, range)))


@pages.page(pages.ADVERTISER, edit=True)
def upload(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A CSV file of conversions: looked at first, stored with the second button."""
    file = request.FILES.get("file")
    if file is None or file.size is None or file.size > MOST_BYTES:
        return _page(request, membership, problem=_("Choose a CSV file of at most 8 MB."))
    is_dry = "store" not in request.POST
    try:
        results = conversion_files.upload(
            file.read().decode(),
            advertiser=membership.organisation,
            click_of=click_of,
            at=clock.now(),
            dry_run=is_dry,
        )
    except (conversion_files.FileError, UnicodeDecodeError) as error:
        said = _("Save the file as UTF-8.") if isinstance(error, UnicodeDecodeError) else str(error)
        return _page(request, membership, problem=said)
    counts = Counter(one.status for one in results)
    rejected = [one for one in results if one.status == "rejected"]
    return _page(
        request,
        membership,
        is_dry=is_dry,
        counts=dict(counts),
        rejected=rejected[:SHOWN_LINES],
        more=max(0, len(rejected) - SHOWN_LINES),
    )


def _page(request: HttpRequest, membership: Membership, **more: Any) -> HttpResponse:
    organisation = membership.organisation
    range = ranges.asked(request, organisation)
    context = {
        "section": "attribution",
        "organisation": organisation,
        "range": range,
        "models": [credited.NAMES[model] for model in MODELS],
        "campaigns": credited.by_campaign(organisation, range),
    }
    return render(request, "portal/attribution.html", context | more)
