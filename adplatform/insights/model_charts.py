"""Charts of models: how right their probabilities are, what moves them, how a search went, how far data drifted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import plotly.graph_objects as go
from django.utils.translation import gettext as _

from adplatform.insights.figures import Figure, add_line, finished, plain_axis


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
    axis = plain_axis(tickformat=".1%" if edge < 0.2 else ".0%", rangemode="tozero", nticks=6)
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
    xaxis = plain_axis(rangemode="tozero", nticks=5, zeroline=False)
    return finished(figure, {"xaxis": xaxis, "yaxis": plain_axis(showgrid=False), "bargap": 0.35})


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
    add_line(figure, numbers, best, name=_("Best so far"), meta="revenue", width=2.5, hover="%{y:.4f}")
    defaults = [value for value in values[:1] for _number in numbers]
    add_line(
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
        "xaxis": plain_axis(showgrid=False, nticks=8, zeroline=False),
        "yaxis": plain_axis(tickformat=".3f", nticks=6, zeroline=False),
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
