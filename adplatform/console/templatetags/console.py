"""The console's menu, with what waits for the operator."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from adplatform.accounts.models import Organisation
from adplatform.campaigns import review

register = template.Library()

MENU = [
    ("overview", "console:overview", _("Operations"), "layout-dashboard"),
    ("jobs", "console:jobs", _("Jobs"), "calendar-clock"),
    ("review", "console:review", _("Review queue"), "eye"),
    ("rules", "console:rules", _("Rules"), "scale"),
    ("traffic", "console:traffic", _("Traffic"), "activity"),
    ("delivery", "console:delivery", _("Delivery"), "funnel"),
    ("trial", "console:trial", _("Try a request"), "flask-conical"),
    ("money", "console:money", _("Money"), "wallet"),
    ("models", "console:models", _("Models"), "sparkles"),
    ("quality", "console:quality", _("Data"), "shield-check"),
    ("tenants", "console:tenants", _("Organisations"), "users"),
    ("privacy", "console:privacy", _("Privacy"), "lock"),
    ("audit", "console:audit", _("Audit log"), "history"),
    ("admin", "admin:index", _("Raw records"), "database"),
]


@register.filter
def change_words(value: object) -> str:
    """A value of an audit entry's detail: [before, after] as an arrow, anything else as it is."""
    if isinstance(value, list) and len(value) == 2:
        before, after = ("–" if part in (None, "") else part for part in value)
        return f"{before} → {after}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


@register.simple_tag
def has_synthetic_data() -> bool:
    """Whether the demo market stands behind any of the numbers; then every page says so."""
    return Organisation.objects.filter(is_synthetic=True).exists()


@register.inclusion_tag("console/_menu.html", takes_context=True)
def console_menu(context: Context) -> dict[str, Any]:
    counts = {"review": review.waiting().count()}
    entries = [
        {
            "url": reverse(name),
            "label": label,
            "symbol": symbol,
            "current": key == context.get("section"),
            "count": counts.get(key, 0),
        }
        for key, name, label, symbol in MENU
    ]
    return {"entries": entries}
