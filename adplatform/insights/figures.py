"""What all charts share: plotly JSON without a template, to which the browser gives the page's colours, in light and dark.

`meta` names what a trace shows, by which js/app.js chooses its colour. Amounts are drawn in units of the currency,
each the exact micros divided once, so that the numbers of a chart are those of the table beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from adplatform.core.money import MICROS, format_micros

Figure = dict[str, Any]


def units(micros: int) -> float:
    """Micros as units of the currency, for drawing only."""
    return micros / MICROS


def symbol(currency: str) -> str:
    return format_micros(0, currency, digits=0).removesuffix("0")


def add_bars(
    figure: go.Figure, x: Sequence[str], y: Sequence[float], *, name: str, meta: str, hover: str
) -> None:
    figure.add_bar(x=x, y=y, name=name, meta=meta, hovertemplate=hover, marker_line_width=0)


def add_line(
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


def money_axis(currency: str, highest_micros: int) -> dict[str, Any]:
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


def plain_axis(**options: Any) -> dict[str, Any]:
    return {"fixedrange": True, "automargin": True, **options}


def right_axis(*, highest: float, **options: Any) -> dict[str, Any]:
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
