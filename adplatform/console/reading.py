"""What the pages of the console read from their address: a range of days in UTC and one currency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest

from adplatform.accounts.models import Organisation
from adplatform.insights.queries import Range, RangeError, range_from

ZONE = "UTC"


@dataclass(frozen=True, slots=True)
class Scope:
    """Amounts of different currencies are never added, so that a page shows one at a time."""

    range: Range
    currency: str
    currencies: list[str]

    @property
    def query(self) -> str:
        return f"{self.range.query}&currency={self.currency}"


def scope(request: HttpRequest, at: datetime) -> Scope:
    try:
        chosen = range_from(request.GET, zone=ZONE, at=at)
    except RangeError as error:
        messages.error(request, str(error))
        chosen = range_from({}, zone=ZONE, at=at)
    known = currencies()
    wanted = request.GET.get("currency", "")
    return Scope(chosen, wanted if wanted in known else known[0], known)


def currencies() -> list[str]:
    """Currencies in use, the most common first."""
    rows = Organisation.objects.values_list("currency").annotate(n=Count("pk")).order_by("-n", "currency")
    return [currency for currency, _count in rows] or ["USD"]
