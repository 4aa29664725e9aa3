"""Conversions per campaign by every attribution model, side by side, and view-through apart. From events.Credit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go
from django.db.models import Sum
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Campaign
from adplatform.events.models import Credit
from adplatform.events.shares import MODELS, WHOLE
from adplatform.insights.figures import Figure, finished
from adplatform.insights.metrics import Range

NAMES = {
    "last_click": gettext_lazy("Last click"),
    "first_click": gettext_lazy("First click"),
    "linear": gettext_lazy("Linear"),
    "time_decay": gettext_lazy("Time decay"),
    "position": gettext_lazy("Position"),
    "data_driven": gettext_lazy("Data-driven"),
}
_META = tuple(str(place) for place in range(1, 7))  # the page's six colours, one per model
SHOWN_CAMPAIGNS = 8


@dataclass(slots=True)
class Credited:
    """What one campaign is credited with: (conversions, value in micros) by model, and after views alone."""

    name: str
    by_model: dict[str, tuple[float, int]] = field(default_factory=dict)
    views: tuple[float, int] = (0.0, 0)

    def cells(self) -> list[tuple[float, int]]:
        return [self.by_model.get(model, (0.0, 0)) for model in MODELS]


def by_campaign(organisation: Organisation, range: Range) -> list[Credited]:
    """Campaigns with any credit for conversions of the range, the most by last click first."""
    rows = Credit.objects.filter(
        advertiser_id=organisation.pk, hour__gte=range.start_at, hour__lt=range.end_at
    ).order_by()
    found: dict[int, Credited] = {}
    sums = rows.values_list("campaign_id", "model", "touch").annotate(
        part=Sum("share_ppm"), value=Sum("value_micros")
    )
    for campaign_id, model, touch, part, value in sums:
        one = found.setdefault(campaign_id, Credited("?"))
        if touch == "view":
            one.views = (part / WHOLE, value)
        else:
            one.by_model[model] = (part / WHOLE, value)
    for pk, name in Campaign.objects.filter(pk__in=found).values_list("pk", "name"):
        found[pk].name = name
    return sorted(found.values(), key=lambda one: (-one.by_model.get("last_click", (0.0, 0))[0], one.name))


def figure(campaigns: Sequence[Credited]) -> Figure:
    """A group of bars per campaign, one bar per model."""
    shown = campaigns[:SHOWN_CAMPAIGNS]
    drawn = go.Figure()
    for model, meta in zip(MODELS, _META, strict=True):
        drawn.add_bar(
            x=[one.name for one in shown],
            y=[one.by_model.get(model, (0.0, 0))[0] for one in shown],
            name=str(NAMES[model]),
            meta=meta,
            marker_line_width=0,
            hovertemplate="%{y:.2f}",
        )
    axis = {"fixedrange": True, "automargin": True, "zeroline": False}
    return finished(drawn, {"barmode": "group", "xaxis": axis, "yaxis": axis | {"rangemode": "tozero"}})
