"""Small pieces of every page: icons, amounts, changes, sparklines, bars, chips, fields.

{% load ui %}
{% icon "plus" 16 %}   {{ micros|money:"USD" }}   {{ 0.021|percent }}   {{ roas|times }}   {{ 12|count }}
{% tile label=… value=… change=0.12 better="up" series=list note=… %}
{% chip "ok" "Serving" %}   kinds: ok warn bad learn paused
{% meter 61 %}   {% meter 100 "over" %}   {% spark values 84 26 %}   {% runs "oooxo" %}
{% field form.name %}   {% field form.bid prefix="$" %}
{% chart "roi" url label="…" %}
{% include "components/…" %}: see the head of each file there
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import lucide as lucide_package
from django import template
from django.forms import BoundField
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, ngettext
from lucide.templatetags.lucide import lucide

from adplatform.core import money as amounts

register = template.Library()

NOTHING = "–"
CHIP_ICONS = {
    "ok": "circle-check",
    "warn": "triangle-alert",
    "bad": "circle-alert",
    "learn": "sparkles",
    "paused": "pause",
}
RUN_BARS = {"o": ("ro", 4, 14), "w": ("rw", 0, 18), "x": ("rx", 0, 18), "-": ("rs", 12, 6)}


# --- icons ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _svg(name: str, size: int) -> SafeString:
    drawn: str = lucide(name, size=size, stroke_width="1.75", aria_hidden="true", focusable="false")
    return mark_safe(drawn)  # noqa: S308


@register.simple_tag
def icon(name: str, size: int = 18) -> SafeString:
    """A Lucide icon; decoration only, so a button with nothing else needs an aria-label."""
    return _svg(str(name) + "", int(size))


# --- numbers in words -------------------------------------------------------------------------------------------------


@register.filter
def money(micros: int | None, currency: str) -> str:
    """Micros of the currency as people read them: $1,234.50."""
    return NOTHING if micros is None else amounts.format_micros(int(micros), currency)


@register.filter
def money_short(micros: int | None, currency: str) -> str:
    """The same without cents once there are a thousand units, where cents only make noise."""
    if micros is None:
        return NOTHING
    large = abs(micros) >= 1_000 * amounts.MICROS
    return amounts.format_micros(int(micros), currency, digits=0 if large else None)


@register.filter
def money_fine(micros: int | None, currency: str) -> str:
    """A bid or a price of one click: up to four decimals where it has them."""
    if micros is None:
        return NOTHING
    fine = micros % (amounts.MICROS // 100) != 0
    return amounts.format_micros(int(micros), currency, digits=4 if fine else None)


def _rounded(number: float, decimals: int) -> str:
    """In the person's language; number_format alone would cut digits off instead of rounding."""
    return number_format(Decimal(f"{number:.{decimals}f}"), decimals, force_grouping=True)


@register.filter
def percent(share: float | None, decimals: int = 2) -> str:
    """0.0214 → 2.14%."""
    return NOTHING if share is None else f"{_rounded(share * 100, decimals)}%"


@register.filter
def times(ratio: float | None) -> str:
    """A ratio such as ROAS: 3.74×."""
    return NOTHING if ratio is None else f"{_rounded(ratio, 2)}×"


@register.filter
def count(number: float | None) -> str:
    """A whole number with its thousands grouped."""
    return NOTHING if number is None else _rounded(number, 0)


@register.filter
def seconds(value: float | None) -> str:
    """A duration: 0.4 s, 41 s, 3 min, 2 h 5 min."""
    if value is None:
        return NOTHING
    if value < 60:
        return gettext("%(n)s s") % {"n": _rounded(value, 1 if value < 10 else 0)}
    minutes = round(value / 60)
    if minutes < 60:
        return ngettext("%(n)d min", "%(n)d min", minutes) % {"n": minutes}
    return gettext("%(h)d h %(m)d min") % {"h": minutes // 60, "m": minutes % 60}


# --- changes, tiles, chips --------------------------------------------------------------------------------------------


def _direction(change: float, better: str) -> str:
    if better == "neutral" or round(change, 3) == 0:
        return "flat"
    return "good" if (change > 0) == (better == "up") else "poor"


@register.simple_tag
def delta(change: float | None, better: str = "up") -> SafeString:
    """A relative change (0.12 is 12 % more); `better` says which way is good news: up, down or neutral."""
    if change is None:
        return format_html('<span class="delta flat">{}</span>', gettext("no earlier data"))
    up = change >= 0
    return format_html(
        '<span class="delta {}">{}<span class="vh">{} </span>{}%</span>',
        _direction(change, better),
        _svg("arrow-up-right" if up else "arrow-down-right", 14),
        gettext("up") if up else gettext("down"),
        _rounded(abs(change) * 100, 1),
    )


@register.inclusion_tag("components/tile.html")
def tile(
    *,
    label: str,
    value: str,
    change: float | None = None,
    better: str = "up",
    series: Sequence[float] | None = None,
    note: str = "",
    tone: str = "flat",
) -> dict[str, Any]:
    """One number with its change (or a note in words) and its course."""
    return {
        "label": label,
        "value": value,
        "change": change,
        "better": better,
        "series": series if series and any(series) else None,
        "note": note,
        "tone": tone,
    }


@register.simple_tag
def chip(kind: str, label: str) -> SafeString:
    """A status in words with its colour and icon."""
    return format_html('<span class="chip {}">{}{}</span>', kind, _svg(CHIP_ICONS[kind], 13), label)


@register.simple_tag
def chip_icon(kind: str) -> SafeString:
    return _svg(CHIP_ICONS[kind], 13)


# --- drawn in SVG: presentation attributes only, which a strict Content-Security-Policy allows -------------------------


@register.simple_tag
def spark(values: Sequence[float | None], width: int = 112, height: int = 34) -> SafeString:
    """A sparkline; days without a value are left out."""
    known = [(place, float(value)) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return mark_safe("")
    low, high = min(y for _, y in known), max(y for _, y in known)
    spread = (high - low) or 1.0
    last = len(values) - 1
    xs = [2 + (width - 5) * place / last for place, _ in known]
    ys = [height - 4 - (y - low) / spread * (height - 8) for _, y in known]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    return format_html(
        '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true" preserveAspectRatio="none">'
        '<polygon class="spark-fill" points="{x0},{h} {points} {x1},{h}"/><polyline class="spark-line" points="{points}"/>'
        '<circle class="spark-dot" cx="{x1}" cy="{y1}" r="2.4"/></svg>',
        w=width,
        h=height,
        points=points,
        x0=f"{xs[0]:.1f}",
        x1=f"{xs[-1]:.1f}",
        y1=f"{ys[-1]:.1f}",
    )


@register.simple_tag
def meter(percentage: float | None, kind: str = "") -> SafeString:
    """A bar from 0 to 100; the number stands beside it in text."""
    width = min(100.0, max(0.0, float(percentage or 0)))
    return format_html(
        '<svg class="bar {}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-bg" width="100" height="6" rx="3"/><rect class="bar-fg" width="{}" height="6" rx="3"/></svg>',
        kind,
        f"{width:.1f}",
    )


@register.simple_tag
def runs(results: str) -> SafeString:
    """The last runs of a job, oldest first: o succeeded, w with a warning, x failed, - skipped."""
    bars = "".join(
        f'<rect class="{kind}" x="{place * 5}" y="{top}" width="3.4" height="{height}" rx="1.5"/>'
        for place, (kind, top, height) in enumerate(RUN_BARS[result] for result in results)
    )
    label = gettext("%(failed)d of %(all)d runs failed") % {"failed": results.count("x"), "all": len(results)}
    return format_html(
        '<svg class="runs" width="{}" height="18" role="img" aria-label="{}">{}</svg>',
        max(1, len(results) * 5),
        label,
        mark_safe(bars),  # noqa: S308 - made of RUN_BARS alone
    )


# --- forms and charts -------------------------------------------------------------------------------------------------


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, *, prefix: str = "", suffix: str = "") -> dict[str, Any]:
    """A labelled field with its hint and, beside it, what is wrong with it and how to mend it."""
    widget = bound.field.widget
    described = [f"{bound.id_for_label}-hint"] if bound.help_text else []
    described += [f"{bound.id_for_label}-error"] if bound.errors else []
    attributes: dict[str, str | bool] = {"class": f"{widget.attrs.get('class', '')} inp".strip()}
    if described:
        attributes["aria-describedby"] = " ".join(described)
    if bound.errors:
        attributes["aria-invalid"] = "true"
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(widget).__name__).lower()
    return {
        "field": bound,
        "control": bound.as_widget(attrs=attributes),
        "kind": kind,
        "prefix": prefix,
        "suffix": suffix,
    }


@register.inclusion_tag("components/chart.html")
def chart(name: str, url: str, *, label: str, small: bool = False, live: bool = True) -> dict[str, Any]:
    """A Plotly figure fetched from `url`; `label` says in words what it shows and how to read it by keyboard."""
    return {"name": name, "url": url, "label": label, "small": small, "live": live}


def icon_exists(name: str) -> bool:
    """Whether the Lucide package draws it; a test asks for every icon that a template names."""
    try:
        lucide(name)
    except lucide_package.IconDoesNotExist:
        return False
    return True
