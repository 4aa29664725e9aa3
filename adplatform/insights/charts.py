"""Charts of what was spent, earned and shown, by day and hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
from django.utils.translation import gettext as _

from adplatform.insights.figures import (
    Figure,
    add_bars,
    add_line,
    finished,
    money_axis,
    right_axis,
    symbol,
    units,
)
from adplatform.insights.metrics import Totals
from adplatform.insights.queries import Fill

HOURS = range(24)


def roi_figure(days: Mapping[date, Totals], previous: Mapping[date, Totals], *, currency: str) -> Figure:
    """Spend as bars, revenue and the previous period's as lines, ROAS on the right axis. Gaps where nothing was spent."""
    x = [day.isoformat() for day in days]
    money = f"{symbol(currency)}%{{y:,.2f}}"
    revenue = [units(total.revenue_micros) for total in days.values()]
    before = [units(total.revenue_micros) for total in previous.values()]
    roas = [total.roas for total in days.values()]
    figure = go.Figure()
    add_bars(
        figure, x, [units(t.spend_micros) for t in days.values()], name=_("Spend"), meta="spend", hover=money
    )
    add_line(
        figure,
        x,
        before,
        name=_("Revenue, previous period"),
        meta="prev",
        width=1.5,
        hover=money,
        dash="4px 4px",
    )
    add_line(figure, x, revenue, name=_("Revenue"), meta="revenue", width=2.5, hover=money, fill="tozeroy")
    add_line(figure, x, roas, name=_("ROAS"), meta="roas", width=2, hover="%{y:.2f}×", yaxis="y2")
    layout = _by_day(list(days), currency, _highest(days, "spend_micros", "revenue_micros")) | {
        "yaxis2": right_axis(ticksuffix="×", tickformat=".1f", highest=max(filter(None, roas), default=1.0))
    }
    return finished(figure, layout)


def earned_figure(days: Mapping[date, Totals], fills: Mapping[date, Fill], *, currency: str) -> Figure:
    """What a publisher earned by day, with the fill rate on the right axis."""
    x = [day.isoformat() for day in days]
    rates = [fills[day].rate for day in days]
    figure = go.Figure()
    add_bars(
        figure,
        x,
        [units(t.earned_micros) for t in days.values()],
        name=_("Earned"),
        meta="revenue",
        hover=f"{symbol(currency)}%{{y:,.2f}}",
    )
    add_line(figure, x, rates, name=_("Fill rate"), meta="roas", width=2, hover="%{y:.1%}", yaxis="y2")
    layout = _by_day(list(days), currency, _highest(days, "earned_micros")) | {
        "yaxis2": right_axis(tickformat=".0%", highest=1.0, tickvals=[0, 0.25, 0.5, 0.75, 1])
    }
    return finished(figure, layout)


def platform_figure(days: Mapping[date, Totals], *, currency: str) -> Figure:
    """What advertisers were charged by day, and the part of it that the platform keeps."""
    x = [day.isoformat() for day in days]
    money = f"{symbol(currency)}%{{y:,.2f}}"
    figure = go.Figure()
    add_bars(
        figure,
        x,
        [units(t.spend_micros) for t in days.values()],
        name=_("Charged"),
        meta="spend",
        hover=money,
    )
    add_line(
        figure,
        x,
        [units(t.platform_micros) for t in days.values()],
        name=_("Platform revenue"),
        meta="revenue",
        width=2.5,
        hover=money,
    )
    return finished(figure, _by_day(list(days), currency, _highest(days, "spend_micros")))


def spend_pace_figure(
    hours: Mapping[datetime, Totals], *, amount_micros: int, currency: str, zone: str
) -> Figure:
    """What was spent by the end of each hour beside an even pace over the same hours."""
    local = [hour.astimezone(ZoneInfo(zone)) for hour in hours]
    x = [moment.strftime("%Y-%m-%d %H:%M") for moment in local]
    money = f"{symbol(currency)}%{{y:,.2f}}"
    spent = [units(micros) for micros in accumulate(total.spend_micros for total in hours.values())]
    even = [units(amount_micros * (index + 1)) / len(x) for index in range(len(x))]
    figure = go.Figure()
    add_line(figure, x, even, name=_("Even pace"), meta="prev", width=1.5, hover=money, dash="4px 4px")
    add_line(figure, x, spent, name=_("Spent"), meta="revenue", width=2.5, hover=money, fill="tozeroy")
    xaxis = {
        "type": "date",
        "nticks": 8,
        "tickangle": 0,
        "showgrid": False,
        "fixedrange": True,
        "hoverformat": "%-d %b %H:%M",
    }
    return finished(
        figure,
        {
            "xaxis": xaxis,
            "yaxis": money_axis(
                currency, max(amount_micros, sum(total.spend_micros for total in hours.values()))
            ),
            "hovermode": "x unified",
        },
    )


def hour_heatmap(hours: Mapping[datetime, Totals], *, zone: str, measure: str = "clicks") -> Figure:
    """A sum of Totals by weekday (Monday first) and hour of the local day."""
    cells = [[0] * 24 for _day in range(7)]
    for hour, total in hours.items():
        local = hour.astimezone(ZoneInfo(zone))
        cells[local.weekday()][local.hour] += getattr(total, measure)
    names = [_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun")]
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x=[f"{hour:02d}" for hour in HOURS],
            y=names,
            meta="heat",
            xgap=2,
            ygap=2,
            showscale=False,
            hovertemplate="%{y} %{x}:00: %{z:,}<extra></extra>",
        )
    )
    axis = {"fixedrange": True, "automargin": True, "ticks": "", "showgrid": False}
    layout = {
        "xaxis": axis | {"type": "category", "tickangle": 0, "nticks": 12},
        "yaxis": axis | {"autorange": "reversed"},
    }
    return finished(figure, layout | {"margin": {"l": 8, "r": 8, "t": 8, "b": 28}})


def _highest(days: Mapping[date, Totals], *names: str) -> int:
    return max((getattr(total, name) for total in days.values() for name in names), default=0)


def _by_day(days: Sequence[date], currency: str, highest_micros: int) -> dict[str, Any]:
    """Layout of a chart whose x axis is days; half a day of room on both sides shows the outer bars whole."""
    edges = [f"{days[0] - timedelta(days=1)} 12:00", f"{days[-1]} 12:00"]
    xaxis = {
        "type": "date",
        "tickformat": "%-d %b",
        "nticks": 8,
        "tickangle": 0,
        "range": edges,
        "showgrid": False,
        "fixedrange": True,
        "showspikes": True,
        "spikemode": "across",
        "spikethickness": 1,
        "spikedash": "solid",
        "spikesnap": "data",
        "hoverformat": "%a %-d %b",
    }
    return {
        "xaxis": xaxis,
        "yaxis": money_axis(currency, highest_micros),
        "barmode": "overlay",
        "bargap": 0.42,
        "hovermode": "x unified",
    }
