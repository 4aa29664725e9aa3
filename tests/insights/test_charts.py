"""Figures carry the numbers of the metrics layer, as JSON that the browser draws."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

from adplatform.insights import charts
from adplatform.insights.metrics import Range, Totals
from adplatform.insights.queries import Fill

DAYS = {
    date(2026, 6, 1): Totals(spend_micros=2_500_000, revenue_micros=10_000_000, earned_micros=1_750_000),
    date(2026, 6, 2): Totals(),
}


def traces(figure: charts.Figure) -> dict[str, list[object]]:
    plain = json.loads(json.dumps(figure))
    return {trace["meta"]: trace["y"] for trace in plain["data"]}


def test_roi_shows_spend_revenue_and_a_gap_where_nothing_was_spent() -> None:
    figure = charts.roi_figure(DAYS, DAYS, currency="EUR")
    assert traces(figure) == {
        "spend": [2.5, 0.0],
        "revenue": [10.0, 0.0],
        "prev": [10.0, 0.0],
        "roas": [4.0, None],
    }
    assert not figure["layout"]["template"]
    assert figure["layout"]["yaxis"]["tickprefix"] == "€"


def test_a_figure_without_any_spend_still_has_axes() -> None:
    figure = charts.roi_figure({date(2026, 6, 1): Totals()}, {}, currency="JPY")
    assert figure["layout"]["yaxis2"]["range"] == [0, 1.15]


def test_earnings_and_fill_rate() -> None:
    fills = {date(2026, 6, 1): Fill(filled=3, reasons={"outbid": 1}), date(2026, 6, 2): Fill()}
    assert traces(charts.earned_figure(DAYS, fills, currency="USD")) == {
        "revenue": [1.75, 0.0],
        "roas": [0.75, None],
    }


def test_what_the_platform_keeps() -> None:
    assert traces(charts.platform_figure(DAYS, currency="USD")) == {
        "spend": [2.5, 0.0],
        "revenue": [0.75, 0.0],
    }


def test_spend_adds_up_beside_an_even_pace() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    hours = {start + timedelta(hours=n): Totals(spend_micros=1_000_000 * n) for n in range(4)}
    figure = charts.spend_pace_figure(hours, amount_micros=8_000_000, currency="USD", zone="UTC")
    assert traces(figure) == {"prev": [2.0, 4.0, 6.0, 8.0], "revenue": [0.0, 1.0, 3.0, 6.0]}


def test_the_heatmap_counts_by_local_weekday_and_hour() -> None:
    week = Range(date(2026, 6, 1), date(2026, 6, 7), "Asia/Tokyo")
    hours = {hour: Totals(clicks=1) for hour in week.hours()}
    hours[datetime(2026, 6, 1, 20, tzinfo=UTC)] = Totals(clicks=9)  # Tuesday 05:00 in Tokyo
    cells = charts.hour_heatmap(hours, zone="Asia/Tokyo")["data"][0]["z"]
    assert (cells[1][5], sum(map(sum, cells))) == (9, 7 * 24 + 8)
