"""The small pieces of pages say exact things."""

from __future__ import annotations

import pytest
from django.template import Context, Template

M = 1_000_000


def render(source: str, **context: object) -> str:
    return Template("{% load ui %}" + source).render(Context(context)).strip()


@pytest.mark.parametrize(
    ("source", "value", "shown"),
    [
        ("{{ v|money:'USD' }}", 1_234_500_000, "$1,234.50"),
        ("{{ v|money:'JPY' }}", 1_234 * M, "¥1,234"),
        ("{{ v|money:'EUR' }}", None, "–"),
        ("{{ v|money_short:'USD' }}", 1_234_567_890, "$1,235"),
        ("{{ v|money_short:'USD' }}", 999_990_000, "$999.99"),
        ("{{ v|money_fine:'USD' }}", 52_500, "$0.0525"),
        ("{{ v|money_fine:'USD' }}", 50_000, "$0.05"),
        ("{{ v|percent }}", 0.02137, "2.14%"),
        ("{{ v|times }}", 3.736, "3.74×"),
        ("{{ v|times }}", None, "–"),
        ("{{ v|count }}", 1_234_567, "1,234,567"),
        ("{{ v|seconds }}", 0.42, "0.4 s"),
        ("{{ v|seconds }}", 41.4, "41 s"),
        ("{{ v|seconds }}", 185, "3 min"),
        ("{{ v|seconds }}", 7_500, "2 h 5 min"),
    ],
)
def test_numbers_in_words(source: str, value: float | None, shown: str) -> None:
    assert render(source, v=value) == shown


@pytest.mark.parametrize(
    ("change", "better", "tone", "spoken"),
    [
        (0.125, "up", "good", "up"),
        (-0.125, "up", "poor", "down"),
        (0.125, "down", "poor", "up"),
        (-0.125, "down", "good", "down"),
        (0.125, "neutral", "flat", "up"),
    ],
)
def test_a_change_is_good_or_bad_news_and_says_so_without_colour(
    change: float, better: str, tone: str, spoken: str
) -> None:
    shown = render("{% delta c b %}", c=change, b=better)

    assert f'class="delta {tone}"' in shown
    assert f'<span class="vh">{spoken} </span>12.5%' in shown


def test_nothing_to_compare_with_is_said() -> None:
    assert "no earlier data" in render("{% delta c %}", c=None)


def test_text_is_escaped_everywhere() -> None:
    assert "<b>" not in render("{% chip 'ok' v %}", v="<b>")
    assert "<b>" not in render("{% tile label=v value=v note=v %}", v="<b>")


def test_a_sparkline_leaves_gaps_out_and_needs_two_points() -> None:
    assert render("{% spark v %}", v=[1, None]) == ""
    assert (
        render("{% spark v 100 20 %}", v=[1, None, 3]).count(",") == 4 + 2
    )  # two points, and two corners of the area


def test_a_meter_stays_within_its_bar() -> None:
    assert 'class="bar-fg" width="100.0"' in render("{% meter v %}", v=460)
    assert 'class="bar-fg" width="0.0"' in render("{% meter v %}", v=None)


def test_runs_say_how_many_failed() -> None:
    assert 'aria-label="1 of 4 runs failed"' in render("{% runs v %}", v="oxo-")
