"""The range of days that a page's address asks for, in the organisation's zone."""

from __future__ import annotations

from django.http import HttpRequest

from adplatform.accounts.models import Organisation
from adplatform.core import clock
from adplatform.insights.queries import Range, RangeError, range_from
from adplatform.portal.messages import error


def asked(request: HttpRequest, organisation: Organisation) -> Range:
    """A range that cannot be read becomes the usual one, and the page says why."""
    at = clock.now()
    try:
        return range_from(request.GET.dict(), zone=organisation.time_zone, at=at)
    except RangeError as refusal:
        error(request, str(refusal))
        return range_from({}, zone=organisation.time_zone, at=at)
