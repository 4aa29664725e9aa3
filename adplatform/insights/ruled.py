"""What happened to the ads and places that an operator's rule names: before it held, and since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import plotly.graph_objects as go
from django.db.models import Sum
from django.utils.translation import gettext as _

from adplatform.campaigns import rules
from adplatform.campaigns.models import Creative, OperatorRule
from adplatform.events.models import HourlyStat
from adplatform.insights import queries
from adplatform.insights.figures import Figure, finished
from adplatform.insights.metrics import Range, Totals, local_date
from adplatform.inventory.models import AdSlot

MOST_DAYS = 14  # before the rule, and since


@dataclass(frozen=True, slots=True)
class Part:
    """What the rule names, and everything in the places that it names, in the same days."""

    named: Totals
    all: Totals
    days: int

    @property
    def share(self) -> float | None:
        return self.named.impressions / self.all.impressions if self.all.impressions else None

    @property
    def spend_share(self) -> float | None:
        return self.named.spend_micros / self.all.spend_micros if self.all.spend_micros else None


@dataclass(frozen=True)
class Measured:
    """`by_day` holds the share of impressions of each day, None where there was none."""

    before: Part
    since: Part
    by_day: Mapping[date, float | None]
    start_date: date


def measured(rule: OperatorRule, *, at: datetime) -> Measured | None:
    """Before and since; None before it begins, or where it names no ad or place that there is."""
    creatives, slots = _named(rule)
    start, today = local_date(rule.start_at, "UTC"), local_date(at, "UTC")
    if not creatives or not slots or start > today:
        return None
    since = Range(max(start, today - timedelta(days=MOST_DAYS - 1)), today)
    before = Range(start - timedelta(days=MOST_DAYS), start - timedelta(days=1))
    currency = _currency(slots)
    named = {"creative_id": creatives, "slot_id": slots, "currency": currency}
    everything = {"slot_id": slots, "currency": currency}

    def part(range: Range) -> Part:
        return Part(
            queries.totals(None, range, **named), queries.totals(None, range, **everything), range.day_count
        )

    whole = Range(before.start_date, since.end_date) if since.start_date == start else since
    mine, of_all = queries.by_day(None, whole, **named), queries.by_day(None, whole, **everything)
    shares = {day: _share(mine.get(day), total) for day, total in of_all.items()}
    return Measured(part(before), part(since), shares, start)


def share_figure(found: Measured) -> Figure:
    """Share of the impressions by day, with a line at the day from which the rule holds."""
    x = [day.isoformat() for day in found.by_day]
    figure = go.Figure()
    figure.add_scatter(
        x=x,
        y=list(found.by_day.values()),
        name=_("Share of impressions"),
        meta="revenue",
        mode="lines+markers",
        line={"width": 2.5},
        hovertemplate="%{y:.1%}<extra></extra>",
    )
    start = found.start_date.isoformat()
    highest = max((share for share in found.by_day.values() if share), default=0.0)
    axis = {"fixedrange": True, "automargin": True, "ticks": "", "zeroline": False}
    layout = {
        "xaxis": axis | {"type": "date", "nticks": 8, "showgrid": False, "hoverformat": "%-d %b"},
        "yaxis": axis | {"tickformat": ".0%", "nticks": 5, "range": [0, min(1.0, highest * 1.15 or 0.1)]},
        "shapes": [
            {"type": "line", "xref": "x", "yref": "paper", "x0": start, "x1": start, "y0": 0, "y1": 1}
        ],
        "hovermode": "x unified",
    }
    return finished(figure, layout)


def _named(rule: OperatorRule) -> tuple[list[int], list[int]]:
    """Keys of the ads and of the slots that the rule names."""
    decided = rules.as_decided([rule], rules.texts_of() if rule.words else {})[0]
    ads = Creative.objects.values_list(
        "pk", "line_item__campaign__organisation_id", "line_item__campaign__category"
    )
    slots = AdSlot.objects.values_list("pk", "site_id", "site__category")
    return (
        [pk for pk, owner, name in ads if decided.covers(creative_id=pk, advertiser_id=owner, category=name)],
        [
            pk
            for pk, site, name in slots
            if decided.holds(slot_id=pk, site_id=site, topics=[name] if name else [])
        ],
    )


def _currency(slots: list[int]) -> str:
    """The one in which most was shown there: amounts of different currencies are never added."""
    rows = HourlyStat.objects.filter(slot_id__in=slots).values_list("currency")
    top = rows.annotate(n=Sum("impressions")).order_by("-n").first()
    return top[0] if top else "USD"


def _share(named: Totals | None, total: Totals) -> float | None:
    if not total.impressions:
        return None
    return (named.impressions if named else 0) / total.impressions
