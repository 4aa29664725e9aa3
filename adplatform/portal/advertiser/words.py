"""Rules and amounts in a person's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.audience.models import Segment
from adplatform.campaigns import caps
from adplatform.campaigns.forms import DEVICES
from adplatform.campaigns.models import LineItem
from adplatform.decision import targeting
from adplatform.inventory.queries import site_names

_NAMES: dict[str, str | Promise] = {
    "country": gettext_lazy("Countries"),
    "region": gettext_lazy("Regions"),
    "language": gettext_lazy("Languages"),
    "device": gettext_lazy("Devices"),
    "site": gettext_lazy("Sites"),
    "category": gettext_lazy("Categories"),
    "keyword": gettext_lazy("Keywords"),
    "segment": gettext_lazy("Segments"),
}


def targeting_words(line_item: LineItem) -> list[str]:
    """One sentence for each rule; a single one where everyone is meant."""
    rules = targeting.as_dict(targeting.parse(line_item.targeting))
    sentences = [
        sentence for name, rule in rules.items() if name != "daypart" for sentence in _rule(name, rule)
    ]
    if "daypart" in rules:
        sentences.append(_("At chosen hours only"))
    if cap := caps.words(line_item):
        sentences.append(cap)
    return sentences or [_("Everyone, everywhere")]


def _rule(name: str, rule: Mapping[str, list[Any]]) -> list[str]:
    words = {"name": _NAMES[name]}
    sentences = []
    if included := rule.get("include"):
        sentences.append(f"{words['name']}: {_values(name, included)}")
    if excluded := rule.get("exclude"):
        sentences.append(_("%(name)s, never: %(values)s") % (words | {"values": _values(name, excluded)}))
    return sentences


def _values(name: str, values: list[Any]) -> str:
    if name == "device":
        return ", ".join(str(dict(DEVICES).get(value, value)) for value in values)
    if name == "segment":
        return ", ".join(
            Segment.objects.filter(pk__in=values).order_by("name").values_list("name", flat=True)
        )
    if name == "site":
        return ", ".join(site_names(values).values())
    return ", ".join(map(str, values))
