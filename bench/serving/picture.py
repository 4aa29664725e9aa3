"""The stages of a decision as a picture: one bar a market size, one part a stage, in µs of CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, LEFT, BAR, GAP, LEGEND = 860, 110, 34, 16, 20
COLOURS = (
    "#4269d0",
    "#efb118",
    "#ff725c",
    "#6cc5b0",
    "#3ca951",
    "#ff8ab7",
    "#a463f2",
    "#97bbf5",
    "#9c6b4e",
    "#9498a0",
    "#b8b03a",
)


def drawn(results: Sequence[Mapping[str, Any]]) -> str:
    """An SVG of `__main__.measure` results; text takes the colour of the page that holds it."""
    stages = list(results[0]["stages_us"])
    colour = {stage: COLOURS[number % len(COLOURS)] for number, stage in enumerate(stages)}
    longest = max(sum(result["stages_us"].values()) for result in results)
    scale = (WIDTH - LEFT - 90) / longest
    lines = [_bar(result, number, colour, scale) for number, result in enumerate(results)]
    top = len(results) * (BAR + GAP) + GAP
    lines += [_key(stage, number, top, colour[stage]) for number, stage in enumerate(stages)]
    height = top + (len(stages) + 1) // 2 * LEGEND + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="CPU of a decision by stage" font-family="system-ui, sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(lines) + "\n</svg>\n"
    )


def _bar(result: Mapping[str, Any], number: int, colour: Mapping[str, str], scale: float) -> str:
    y, x = GAP + number * (BAR + GAP), float(LEFT)
    parts = [
        f'<text x="{LEFT - 8}" y="{y + BAR * 0.65:.0f}" text-anchor="end">{result["line_items"]:,}</text>'
    ]
    for stage, micros in result["stages_us"].items():
        wide = micros * scale
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{colour[stage]}">'
            f"<title>{escape(stage)}: {micros:.0f} µs</title></rect>"
        )
        if wide > 30:
            parts.append(
                f'<text x="{x + wide / 2:.1f}" y="{y + BAR * 0.65:.0f}" text-anchor="middle">{micros:.0f}</text>'
            )
        x += wide
    total = sum(result["stages_us"].values())
    parts.append(f'<text x="{x + 8:.1f}" y="{y + BAR * 0.65:.0f}">{total:,.0f} µs</text>')
    return "\n".join(parts)


def _key(stage: str, number: int, top: int, colour: str) -> str:
    x, y = LEFT + number % 2 * 380, top + number // 2 * LEGEND
    return (
        f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{x + 18}" y="{y + 11}">{escape(stage)}</text>'
    )
