"""The numbers of the publisher's pages: a range, its tiles, and rows by site and slot, all of one metrics layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from adplatform.accounts.models import Organisation
from adplatform.core.templatetags import ui
from adplatform.insights import queries
from adplatform.insights.queries import Fill, Range, Totals, change
from adplatform.inventory.models import AdSlot

NOTHING = Totals()
EMPTY = Fill()


@dataclass(frozen=True, slots=True)
class SlotRow:
    slot: AdSlot
    total: Totals
    fill: Fill


def results(publisher: Organisation, range: Range, **filters: object) -> dict[str, Any]:
    """Totals, ad requests, the period before, the days and the tiles of a range."""
    now = queries.totals(publisher, range, **filters)
    days = queries.by_day(publisher, range, **filters)
    fill, fills = queries.fill(publisher, range, **filters), queries.fill_by_day(publisher, range, **filters)
    before = queries.totals_before(publisher, range, **filters)
    fill_before = queries.fill_before(publisher, range, **filters)
    return {
        "now": now,
        "fill": fill,
        "days": [(day, total, fills[day]) for day, total in days.items()],
        "previous": range.previous(),
        "tiles": _tiles(
            (now, before), (fill, fill_before), list(days.values()), list(fills.values()), publisher.currency
        ),
    }


def _tiles(
    totals: tuple[Totals, Totals],
    fills: tuple[Fill, Fill],
    days: list[Totals],
    fill_days: list[Fill],
    currency: str,
) -> list[dict[str, Any]]:
    now, (fill, fill_before) = totals[0], fills
    requests = {"label": _("Ad requests"), "value": ui.count(fill.requests), "better": "up"}
    rate = {"label": _("Fill rate"), "value": ui.percent(fill.rate, 1), "better": "up"}
    return [
        requests
        | {
            "change": change(fill.requests, fill_before.requests),
            "series": [day.requests for day in fill_days],
        },
        rate | {"change": change(fill.rate, fill_before.rate), "series": [day.rate for day in fill_days]},
        {
            "label": _("Impressions"),
            "value": ui.count(now.impressions),
            **_course("impressions", totals, days),
        },
        {
            "label": _("eCPM"),
            "value": ui.money(now.ecpm_micros, currency),
            **_course("ecpm_micros", totals, days),
        },
        {
            "label": _("Earned"),
            "value": ui.money_short(now.earned_micros, currency),
            **_course("earned_micros", totals, days),
        },
    ]


def _course(name: str, totals: tuple[Totals, Totals], days: list[Totals]) -> dict[str, Any]:
    """How one number moved against the period before, and by day."""
    now, before = totals
    moved = change(getattr(now, name), getattr(before, name))
    return {"change": moved, "better": "up", "series": [getattr(day, name) for day in days]}


def slot_rows(publisher: Organisation, slots: list[AdSlot], range: Range) -> list[SlotRow]:
    totals, fills = queries.by_slot(publisher, range), queries.fill_by_slot(publisher, range)
    return [SlotRow(slot, totals.get(slot.pk, NOTHING), fills.get(slot.pk, EMPTY)) for slot in slots]
