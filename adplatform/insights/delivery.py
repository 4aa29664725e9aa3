"""The delivery funnel: how often a line item could have been shown, and what became of it, in shares that add up.

Counts come from events.DeliveryHour, in which every decision of every serving process is counted. What to do about the
largest obstacle is said in words; what a higher bid would need follows from the choice sets of sampled decisions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
from django.db import connection
from django.utils.translation import gettext as _
from psycopg2 import sql

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import LineItem
from adplatform.core.money import BASIS_POINTS, format_micros
from adplatform.core.tenants import platform
from adplatform.decision.tally import WON
from adplatform.insights.delivery_words import ADVICE, SHORT
from adplatform.insights.figures import Figure, finished
from adplatform.insights.metrics import Range

FEWEST_LOST = (
    20  # lost auctions of the sample before a bid is named: fewer say little, and too much about others
)
MOST_LOST = 1_000
_FILTERS = ("line_item_id", "campaign_id", "source")


@dataclass(frozen=True, slots=True)
class Part:
    """One outcome: `share_bp` of the opportunities, in basis points that add up to 10,000 over a funnel."""

    outcome: str
    opportunities: int
    share_bp: int

    @property
    def is_won(self) -> bool:
        return self.outcome == WON

    @property
    def share(self) -> float:
        return self.share_bp / BASIS_POINTS

    @property
    def percentage(self) -> float:
        return self.share_bp / 100

    @property
    def words(self) -> str:
        return short_words(self.outcome)


@dataclass(frozen=True, slots=True)
class Funnel:
    """Outcomes of opportunities, what was won first, then the most frequent obstacles."""

    outcomes: Mapping[str, int] = field(default_factory=dict)

    @property
    def opportunities(self) -> int:
        return sum(self.outcomes.values())

    @property
    def won(self) -> int:
        return self.outcomes.get(WON, 0)

    @property
    def win_rate(self) -> float | None:
        return self.won / self.opportunities if self.opportunities else None

    @property
    def parts(self) -> list[Part]:
        ordered = sorted(self.outcomes.items(), key=lambda pair: (pair[0] != WON, -pair[1], pair[0]))
        counted = [(outcome, n) for outcome, n in ordered if n]
        shares = shares_bp([n for _, n in counted])
        return [Part(outcome, n, share) for (outcome, n), share in zip(counted, shares, strict=True)]

    @property
    def obstacle(self) -> Part | None:
        """The outcome that cost most opportunities."""
        return next((part for part in self.parts if not part.is_won), None)


def shares_bp(counts: Iterable[int]) -> list[int]:
    """Basis points of a whole that add up to 10,000: what rounding down leaves goes to the largest remainders."""
    counts = list(counts)
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    shares = [n * BASIS_POINTS // total for n in counts]
    rest = BASIS_POINTS - sum(shares)
    order = sorted(range(len(counts)), key=lambda place: (-(counts[place] * BASIS_POINTS % total), place))
    for place in order[:rest]:
        shares[place] += 1
    return shares


def short_words(outcome: str) -> str:
    """An outcome in a few words; one that this version does not know is shown as it is stored."""
    return str(SHORT.get(outcome, outcome.replace("_", " ").capitalize()))


def funnel(organisation: Organisation | None, range: Range, **filters: object) -> Funnel:
    """What became of all opportunities of a range. Filters: line_item_id, campaign_id, source; a list means any of.
    An advertiser sees its own; None is the platform's operator."""
    found = _grouped(None, organisation, range, filters)
    return found.get(0, Funnel())


def by_line_item(organisation: Organisation | None, range: Range, **filters: object) -> dict[int, Funnel]:
    return _grouped("line_item_id", organisation, range, filters)


def by_campaign(organisation: Organisation | None, range: Range, **filters: object) -> dict[int, Funnel]:
    return _grouped("campaign_id", organisation, range, filters)


def _grouped(
    key: str | None, organisation: Organisation | None, range: Range, filters: Mapping[str, object]
) -> dict[int, Funnel]:
    conditions: list[sql.Composable] = [sql.SQL("hour >= %(start)s AND hour < %(end)s")]
    values: dict[str, Any] = {"start": range.start_at, "end": range.end_at}
    if organisation is not None:
        conditions.append(sql.SQL("advertiser_id = %(own)s"))
        values["own"] = organisation.pk
    for name, wanted in filters.items():
        if name not in _FILTERS:
            raise TypeError(f"{name} is not something delivery can be filtered by")
        many = list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
        conditions.append(sql.SQL("{} = ANY(%({})s)").format(sql.Identifier(name), sql.SQL(name)))
        values[name] = many
    statement = sql.SQL(
        "SELECT {key}, outcome, sum(n::bigint)::bigint FROM events_deliveryhour, "
        "jsonb_each_text(outcomes) AS part(outcome, n) WHERE {where} GROUP BY 1, 2"
    ).format(key=sql.Identifier(key) if key else sql.SQL("0"), where=sql.SQL(" AND ").join(conditions))
    grouped: dict[int, dict[str, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        for found, outcome, n in cursor.fetchall():
            grouped.setdefault(int(found), {})[outcome] = int(n)
    return {found: Funnel(outcomes) for found, outcomes in grouped.items()}


# --- what to do -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advice:
    """What is in the way, and what its advertiser may do about it."""

    part: Part
    text: str


def advice(
    found: Funnel, *, raise_by: float | None = None, line_item: LineItem | None = None
) -> Advice | None:
    """About the largest obstacle; None where everything was won. `raise_by`: see `raise_to_win`."""
    part = found.obstacle
    if part is None:
        return None
    text = str(ADVICE.get(part.outcome, _("Nothing that you set is in the way.")))
    if part.outcome == "outbid" and raise_by is not None and line_item is not None:
        text = _bid_words(line_item, raise_by)
    return Advice(part, text)


@platform()  # auctions that others won
def raise_to_win(line_item: LineItem, range: Range) -> float | None:
    """By how much its bid would have had to count more to win half of the auctions that it lost; None where the sample
    of decisions holds too few of them. From the choice sets: the best other offer over its own, in each."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT choice_set->'line_item', choice_set->'by_click', choice_set->'worth', choice_set->'pctr'
            FROM events_addecision WHERE choice_set IS NOT NULL AND served_at >= %s AND served_at < %s
            AND choice_set->'line_item' @> to_jsonb(%s::bigint) AND line_item_id <> %s
            ORDER BY served_at DESC LIMIT %s
            """,
            [range.start_at, range.end_at, line_item.pk, line_item.pk, MOST_LOST],
        )
        lost = [_needed(line_item.pk, *map(json.loads, columns)) for columns in cursor.fetchall()]
    needed = sorted(factor for factor in lost if factor is not None)
    return needed[len(needed) // 2] if len(needed) >= FEWEST_LOST else None


def _needed(
    line_item: int, owners: list[int], by_click: list[bool], worth: list[float], pctr: list[float]
) -> float | None:
    """The best other offer over this line item's, at least 1: an auction lost to exploring needs no higher bid."""
    offers = [
        value * (1_000 * p if clicks else 1.0) for clicks, value, p in zip(by_click, worth, pctr, strict=True)
    ]
    ours = max(
        (offer for owner, offer in zip(owners, offers, strict=True) if owner == line_item), default=0.0
    )
    others = max(
        (offer for owner, offer in zip(owners, offers, strict=True) if owner != line_item), default=0.0
    )
    return max(1.0, others / ours) if ours > 0 else None


def _bid_words(line_item: LineItem, raise_by: float) -> str:
    campaign = line_item.campaign
    if raise_by < 1.005:
        return _(
            "Its offers were as high as the winners' in at least half of the auctions it lost: raising the bid would change little."
        )
    if campaign.bid_strategy == "target_roas":
        return _(
            "Lowering the target ROAS to %(target)s would have won about half of the auctions it lost."
        ) % {"target": f"{(campaign.target_roas_bp or BASIS_POINTS) / BASIS_POINTS / raise_by:.2f}×"}
    return _("A bid of %(bid)s instead of %(now)s would have won about half of the auctions it lost.") % {
        "bid": _money(_rounded_up(line_item.bid_micros * raise_by), campaign.currency),
        "now": _money(line_item.bid_micros, campaign.currency),
    }


def _rounded_up(micros: float) -> int:
    """To two figures, upwards: what a person would type."""
    step: int = 10 ** max(0, len(str(int(micros))) - 2)
    return -(-int(micros) // step) * step


def _money(micros: int, currency: str) -> str:
    return format_micros(micros, currency, digits=4 if micros % 10_000 else None)


# --- the picture ------------------------------------------------------------------------------------------------------


def funnel_figure(found: Funnel) -> Figure:
    """Horizontal bars of the shares of opportunities: what was won on top, then the obstacles by size."""
    parts = found.parts[::-1]
    figure = go.Figure()
    for meta, name, kept in (("ok", _("Won"), True), ("prev", _("Not won"), False)):
        shown = [part for part in parts if part.is_won is kept]
        figure.add_bar(
            x=[part.share for part in shown],
            y=[part.words for part in shown],
            text=[f"{part.percentage:.1f}%" for part in shown],
            textposition="outside",
            cliponaxis=False,
            customdata=[part.opportunities for part in shown],
            orientation="h",
            name=name,
            meta=meta,
            marker_line_width=0,
            hovertemplate="%{y}: %{x:.2%} (%{customdata:,})<extra></extra>",
        )
    axis = {"fixedrange": True, "automargin": True, "ticks": "", "zeroline": False}
    largest = max((part.share for part in parts), default=1.0)
    layout = {
        "xaxis": axis | {"tickformat": ".0%", "nticks": 5, "range": [0, largest * 1.3]},
        "yaxis": axis
        | {"showgrid": False, "categoryorder": "array", "categoryarray": [part.words for part in parts]},
        "bargap": 0.3,
        "barmode": "overlay",
    }
    return finished(figure, layout)
