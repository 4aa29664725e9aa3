"""Why people see a line item's ads, drawn: how much each part moved the odds of a click, and in which direction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from django.utils.translation import gettext as _

from adplatform.insights.figures import Figure, finished
from adplatform.learning import influence, words
from adplatform.learning.models import Influence


@dataclass(frozen=True, slots=True)
class Part:
    """One human group. `factor` is what it multiplied the odds of a click by on average, `share` its part of all that
    moved them."""

    group: str
    title: str
    factor: float
    share: float


@dataclass(frozen=True)
class Why:
    """What is told of one line item."""

    influence: Influence
    parts: list[Part]

    @property
    def topics(self) -> list[tuple[str, int]]:
        """What at least `influence.FEWEST_VISITORS` visitors had done that is like the ads."""
        return [(words.shortened(text), visitors) for text, visitors in self.influence.topics]

    @property
    def pages(self) -> list[tuple[str, int, float]]:
        """(word, impressions, CTR) of the pages that the ads were shown on, the most frequent word first."""
        return [(words.shortened(word), n, clicks / n) for word, n, clicks in self.influence.page_words]


def why(line_item_ids: list[int]) -> dict[int, Why]:
    """What was last told of these line items."""
    return {pk: Why(told, _parts(told.groups)) for pk, told in influence.stored(line_item_ids).items()}


def influence_figure(told: Sequence[Part]) -> Figure:
    """Horizontal bars, the largest on top: right of 1 a part raised the odds of a click, left of it lowered them."""
    parts = told[::-1]
    figure = go.Figure()
    for meta, name, kept in (("1", _("Raised"), 1), ("prev", _("Lowered"), -1)):
        chosen = [part for part in parts if (part.factor >= 1) == (kept > 0)]
        figure.add_bar(
            x=[part.factor - 1 for part in chosen],
            y=[part.title for part in chosen],
            base=1,
            orientation="h",
            name=name,
            meta=meta,
            customdata=[part.factor for part in chosen],
            hovertemplate="%{y}: ×%{customdata:.2f}<extra></extra>",
            marker_line_width=0,
        )
    axis = {"fixedrange": True, "automargin": True, "ticks": "", "showgrid": False}
    edge = max((abs(part.factor - 1) for part in parts), default=0.1) * 1.1 or 0.1
    layout = {
        "xaxis": axis
        | {
            "tickprefix": "×",
            "tickformat": ".2f",
            "nticks": 5,
            "range": [max(0, 1 - edge), 1 + edge],
            "showgrid": True,
        },
        "yaxis": axis | {"categoryorder": "array", "categoryarray": [part.title for part in parts]},
        "shapes": [
            {
                "type": "line",
                "x0": 1,
                "x1": 1,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "name": "base",
                "line": {"width": 1},
            }
        ],
        "bargap": 0.35,
        "barmode": "overlay",
    }
    return finished(figure, layout)


def _parts(groups: Mapping[str, Mapping[str, float]]) -> list[Part]:
    total = sum(sizes["size"] for sizes in groups.values()) or 1.0
    parts = [
        Part(group, str(words.GROUPS[group]), math.exp(sizes["mean"]), sizes["size"] / total)
        for group, sizes in groups.items()
        if group in words.GROUPS
    ]
    return sorted(parts, key=lambda part: -part.share)
