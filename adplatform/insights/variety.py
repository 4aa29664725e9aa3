"""How varied the ads are that one visitor sees: measured from the impressions of the last seven days.

Of each visitor's impressions n_a by advertiser (or category), N in all, the effective number is

    exp(H) = exp(−Σ n_a/N · ln(n_a/N)) = exp(ln N − Σ n_a ln n_a / N)

1 where all came from one, k where k had as many each (Jost 2006, "Entropy and diversity"). Visitors with fewer than
`FEWEST` impressions could not have seen variety and are left out; the others count alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go
from django.db import connection
from django.utils.translation import gettext as _

from adplatform.accounts.models import Organisation
from adplatform.core.tenants import platform
from adplatform.events.validity import COUNTED
from adplatform.insights.figures import Figure, finished, symbol

DAYS = 7
FEWEST = 2

_SEEN = """
    WITH seen AS (
        SELECT i.visitor, {group} AS one, count(*)::float8 AS n
        FROM events_impression AS i {join}
        WHERE i.visitor <> '' AND i.served_at >= %(since)s AND i.served_at < %(until)s AND i.reason = ANY(%(counted)s)
            AND (%(publisher)s::bigint IS NULL OR i.publisher_id = %(publisher)s)
        GROUP BY 1, 2
    ), visitors AS (
        SELECT sum(n) AS total, count(*) AS distinct_, exp(ln(sum(n)) - sum(n * ln(n)) / sum(n)) AS effective
        FROM seen GROUP BY visitor HAVING sum(n) >= %(fewest)s
    )
    SELECT count(*), coalesce(sum(total), 0)::bigint, avg(distinct_)::float8, avg(effective) FROM visitors
"""
_GROUPS = {
    "advertiser": ("i.advertiser_id", ""),
    "category": (
        "coalesce(nullif(lower(c.category), ''), i.campaign_id::text)",
        "JOIN campaigns_campaign AS c ON c.id = i.campaign_id",
    ),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Means over visitors: how many different ones they saw, and the effective number."""

    visitors: int
    impressions: int
    distinct: float | None
    effective: float | None

    @property
    def each(self) -> float | None:
        """Impressions of a visitor."""
        return self.impressions / self.visitors if self.visitors else None


def advertisers(publisher: Organisation | None, *, at: datetime) -> Seen:
    """What visitors of a publisher saw, or of the whole platform."""
    return _measured("advertiser", publisher, at)


def categories(publisher: Organisation | None, *, at: datetime) -> Seen:
    """The same by the advertised category; a campaign without one is a category of its own."""
    return _measured("category", publisher, at)


@platform()  # the categories of others' ads that its visitors saw
def _measured(by: str, publisher: Organisation | None, at: datetime) -> Seen:
    group, join = _GROUPS[by]
    values: dict[str, Any] = {
        "since": at - timedelta(days=DAYS),
        "until": at,
        "counted": list(COUNTED),
        "publisher": publisher.pk if publisher else None,
        "fewest": FEWEST,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SEEN.format(group=group, join=join), values)
        visitors, impressions, distinct, effective = cursor.fetchone()
    return Seen(visitors, impressions, distinct, effective)


def figure(points: Sequence[Mapping[str, Any]], *, present: float, currency: str) -> Figure:
    """Revenue of 1,000 ads (left) and effective advertisers (right) at each weight; a line marks the present one."""
    x = [point["weight"] for point in points]
    money = f"{symbol(currency)}%{{y:,.2f}}"
    drawn = go.Figure()
    for name, key, meta, hover, more in (
        (_("Revenue of 1,000 ads"), "revenue", "revenue", money, {}),
        (_("Effective advertisers"), "effective", "roas", "%{y:.2f}", {"yaxis": "y2"}),
    ):
        drawn.add_scatter(
            x=x,
            y=[point[key] for point in points],
            name=name,
            meta=meta,
            mode="lines+markers",
            line={"width": 2.5},
            hovertemplate=f"{hover}<extra>%{{fullData.name}}</extra>",
            **more,
        )
    axis = {"fixedrange": True, "automargin": True, "zeroline": False, "nticks": 6, "rangemode": "tozero"}
    layout = {
        "xaxis": axis
        | {"title": {"text": _("Weight")}, "range": [-0.05, 1.05], "showgrid": False, "tickvals": x},
        "yaxis": axis | {"tickprefix": symbol(currency)},
        "yaxis2": axis
        | {"overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto", "tickformat": ".1f"},
        "shapes": [
            {"type": "line", "xref": "x", "yref": "paper", "x0": present, "x1": present, "y0": 0, "y1": 1}
        ],
        "hovermode": "x unified",
        "margin": {"l": 8, "r": 8, "t": 12, "b": 44, "autoexpand": True},
    }
    return finished(drawn, layout)
