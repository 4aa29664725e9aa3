"""Figures as plotly JSON without a template: the browser gives them the page's colours, in light and dark.

`meta` names what a trace shows, by which js/app.js chooses its colour. Amounts are drawn in units of the currency,
each the exact micros divided once, so that the numbers of a chart are those of the table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
from django.utils.translation import gettext as _

from adplatform.core.money import MICROS, format_micros
from adplatform.insights.metrics import Totals
from adplatform.insights.queries import Fill

Figure = dict[str, Any]
HOURS = range(24)


def roi_figure(days: Mapping[date, Totals], previous: Mapping[date, Totals], *, currency: str) -> Figure:
    """Spend as bars, revenue and the previous period's as lines, ROAS on the right axis. Gaps where nothing was spent."""
    x = [day.isoformat() for day in days]
    money = f"{symbol(currency)}%{{y:,.2f}}"
    revenue = [units(total.revenue_micros) for total in days.values()]
    before = [units(total.revenue_micros) for total in previous.values()]
    roas = [total.roas for total in days.values()]
    figure = go.Figure()
    _add_bars(
        figure, x, [units(t.spend_micros) for t in days.values()], name=_("Spend"), meta="spend", hover=money
    )
    _add_line(
        figure,
        x,
        before,
        name=_("Revenue, previous period"),
        meta="prev",
        width=1.5,
        hover=money,
        dash="4px 4px",
    )
    _add_line(figure, x, revenue, name=_("Revenue"), meta="revenue", width=2.5, hover=money, fill="tozeroy")
    _add_line(figure, x, roas, name=_("ROAS"), meta="roas", width=2, hover="%{y:.2f}×", yaxis="y2")
    layout = _by_day(list(days), currency, _highest(days, "spend_micros", "revenue_micros")) | {
        "yaxis2": _right_axis(ticksuffix="×", tickformat=".1f", highest=max(filter(None, roas), default=1.0))
    }
    return finished(figure, layout)


def earned_figure(days: Mapping[date, Totals], fills: Mapping[date, Fill], *, currency: str) -> Figure:
    """What a publisher earned by day, with the fill rate on the right axis."""
    x = [day.isoformat() for day in days]
    rates = [fills[day].rate for day in days]
    figure = go.Figure()
    _add_bars(
        figure,
        x,
        [units(t.earned_micros) for t in days.values()],
        name=_("Earned"),
        meta="revenue",
        hover=f"{symbol(currency)}%{{y:,.2f}}",
    )
    _add_line(figure, x, rates, name=_("Fill rate"), meta="roas", width=2, hover="%{y:.1%}", yaxis="y2")
    layout = _by_day(list(days), currency, _highest(days, "earned_micros")) | {
        "yaxis2": _right_axis(tickformat=".0%", highest=1.0, tickvals=[0, 0.25, 0.5, 0.75, 1])
    }
    return finished(figure, layout)


def platform_figure(days: Mapping[date, Totals], *, currency: str) -> Figure:
    """What advertisers were charged by day, and the part of it that the platform keeps."""
    x = [day.isoformat() for day in days]
    money = f"{symbol(currency)}%{{y:,.2f}}"
    figure = go.Figure()
    _add_bars(
        figure,
        x,
        [units(t.spend_micros) for t in days.values()],
        name=_("Charged"),
        meta="spend",
        hover=money,
    )
    _add_line(
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
    _add_line(figure, x, even, name=_("Even pace"), meta="prev", width=1.5, hover=money, dash="4px 4px")
    _add_line(figure, x, spent, name=_("Spent"), meta="revenue", width=2.5, hover=money, fill="tozeroy")
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
            "yaxis": _money_axis(
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


def reliability_figure(
    bins: Sequence[Mapping[str, float]], *, before: Sequence[Mapping[str, float]] = ()
) -> Figure:
    """Observed click rates over predicted ones, each with its 95 % interval, and the line on which both are equal.

    A bin has predicted, observed, low, high and rows; a perfect model's bins lie on the line. `before`: the bins before
    calibration, without intervals.
    """
    x, y = [one["predicted"] for one in bins], [one["observed"] for one in bins]
    edge = (
        max([*x, *(one["high"] for one in bins), *(one["predicted"] for one in before)], default=1.0) * 1.05
    )
    figure = go.Figure()
    figure.add_scatter(
        x=x,
        y=y,
        name=_("Observed"),
        meta="revenue",
        mode="markers",
        marker={"size": 9},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [one["high"] - one["observed"] for one in bins],
            "arrayminus": [one["observed"] - one["low"] for one in bins],
            "thickness": 1.5,
            "width": 3,
        },
        customdata=[one["rows"] for one in bins],
        hovertemplate=_("predicted %{x:.2%}, observed %{y:.2%}, %{customdata:,} impressions<extra></extra>"),
    )
    if before:
        figure.add_scatter(
            x=[one["predicted"] for one in before],
            y=[one["observed"] for one in before],
            name=_("Before calibration"),
            meta="spend",
            mode="markers",
            marker={"size": 7},
            hovertemplate=_("before calibration: predicted %{x:.2%}, observed %{y:.2%}<extra></extra>"),
        )
    figure.add_scatter(
        x=[0, edge],
        y=[0, edge],
        name=_("Predicted = observed"),
        meta="prev",
        mode="lines",
        line={"width": 1.5, "dash": "4px 4px"},
        hoverinfo="skip",
    )
    axis = _plain_axis(tickformat=".1%" if edge < 0.2 else ".0%", rangemode="tozero", nticks=6)
    return finished(figure, {"xaxis": axis | {"showgrid": False}, "yaxis": axis})


def share_figure(sizes: Mapping[str, float]) -> Figure:
    """Horizontal bars of how much each of these moves a prediction (log odds), the largest on top."""
    names = list(sizes)[::-1]
    figure = go.Figure()
    figure.add_bar(
        x=[sizes[name] for name in names],
        y=names,
        orientation="h",
        meta="1",
        name=_("Moves the log odds by"),
        marker_line_width=0,
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    xaxis = _plain_axis(rangemode="tozero", nticks=5, zeroline=False)
    return finished(figure, {"xaxis": xaxis, "yaxis": _plain_axis(showgrid=False), "bargap": 0.35})


def search_figure(values: Sequence[float], is_whole: Sequence[bool]) -> Figure:
    """Normalised entropy of each trial of a search, the best one so far, and the defaults (the first trial).

    Trials that were stopped early have no place in the best so far.
    """
    numbers = list(range(len(values)))
    best = list(
        accumulate((value if whole else math.inf for value, whole in zip(values, is_whole, strict=True)), min)
    )
    figure = go.Figure()
    for name, meta, whole in ((_("Trial"), "2", True), (_("Stopped early"), "warn", False)):
        kept = [number for number in numbers if is_whole[number] is whole]
        figure.add_scatter(
            x=kept,
            y=[values[number] for number in kept],
            name=name,
            meta=meta,
            mode="markers",
            marker={"size": 7},
            hovertemplate="%{x}: %{y:.4f}",
        )
    _add_line(figure, numbers, best, name=_("Best so far"), meta="revenue", width=2.5, hover="%{y:.4f}")
    defaults = [value for value in values[:1] for _number in numbers]
    _add_line(
        figure,
        numbers,
        defaults,
        name=_("Defaults"),
        meta="prev",
        width=1.5,
        hover="%{y:.4f}",
        dash="4px 4px",
    )
    layout = {
        "xaxis": _plain_axis(showgrid=False, nticks=8, zeroline=False),
        "yaxis": _plain_axis(tickformat=".3f", nticks=6, zeroline=False),
        "hovermode": "closest",
    }
    return finished(figure, layout)


def drift_figure(features: Sequence[tuple[str, float, str]]) -> Figure:
    """Bars of the population stability index, (feature, index, severity), the largest on top."""
    rows = sorted(features, key=lambda row: row[1])
    figure = go.Figure()
    for meta, severities in (("ok", {"ok"}), ("warn", {"warn"}), ("bad", {"alarm", "refuse"})):
        shown = [row for row in rows if row[2] in severities]
        figure.add_bar(
            x=[row[1] for row in shown],
            y=[row[0] for row in shown],
            orientation="h",
            meta=meta,
            marker_line_width=0,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    axis = {"fixedrange": True, "automargin": True, "zeroline": False}
    highest = max((row[1] for row in rows), default=0.0)
    layout = {
        "barmode": "stack",
        "xaxis": axis | {"range": [0, max(highest * 1.1, 0.25)], "nticks": 6},
        "yaxis": axis | {"categoryorder": "array", "categoryarray": [row[0] for row in rows]},
        "shapes": [
            {"type": "line", "xref": "x", "yref": "paper", "x0": mark, "x1": mark, "y0": 0, "y1": 1}
            for mark in (0.1, 0.2)
        ],
    }
    return finished(figure, layout)


def units(micros: int) -> float:
    """Micros as units of the currency, for drawing only."""
    return micros / MICROS


def symbol(currency: str) -> str:
    return format_micros(0, currency, digits=0).removesuffix("0")


def _add_bars(
    figure: go.Figure, x: Sequence[str], y: Sequence[float], *, name: str, meta: str, hover: str
) -> None:
    figure.add_bar(x=x, y=y, name=name, meta=meta, hovertemplate=hover, marker_line_width=0)


def _add_line(
    figure: go.Figure,
    x: Sequence[str] | Sequence[int],
    y: Sequence[float | None],
    *,
    name: str,
    meta: str,
    width: float,
    hover: str,
    dash: str = "solid",
    **options: str,
) -> None:
    line = {"width": width, "dash": dash}
    figure.add_scatter(
        x=x, y=y, name=name, meta=meta, mode="lines", line=line, hovertemplate=hover, **options
    )


def _highest(days: Mapping[date, Totals], *names: str) -> int:
    return max((getattr(total, name) for total in days.values() for name in names), default=0)


def _money_axis(currency: str, highest_micros: int) -> dict[str, Any]:
    """From a thousand units on ticks are short (2k); below, "~s" would write half a unit as 500m."""
    return {
        "tickprefix": symbol(currency),
        "tickformat": "~s" if highest_micros >= 1_000 * MICROS else ",~f",
        "rangemode": "tozero",
        "nticks": 6,
        "fixedrange": True,
        "automargin": True,
        "zeroline": False,
    }


def _plain_axis(**options: Any) -> dict[str, Any]:
    return {"fixedrange": True, "automargin": True, **options}


def _right_axis(*, highest: float, **options: Any) -> dict[str, Any]:
    return {
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "fixedrange": True,
        "automargin": True,
        "zeroline": False,
        "nticks": 6,
        "range": [0, highest * 1.15],
        **options,
    }


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
        "yaxis": _money_axis(currency, highest_micros),
        "barmode": "overlay",
        "bargap": 0.42,
        "hovermode": "x unified",
    }


def finished(figure: go.Figure, layout: Mapping[str, Any]) -> Figure:
    """The figure with this layout over what all charts share, as plotly.js reads it."""
    common = {
        "template": None,
        "showlegend": False,
        "margin": {"l": 8, "r": 8, "t": 12, "b": 28, "autoexpand": True},
    }
    figure.update_layout(**(common | dict(layout)))
    drawn: Figure = figure.to_plotly_json()
    return drawn
