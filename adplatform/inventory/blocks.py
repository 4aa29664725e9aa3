"""What a publisher's block rules come to over certain ads: categories with all that lies below them, domains with their
subdomains, attributes. Snapshots and previews both ask here, so that a preview counts what a decision will refuse."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from adplatform.decision.rules import folded
from adplatform.inventory.categories import Graph
from adplatform.inventory.models import AdFormat, BlockRule, CreativeAttribute

Kind = BlockRule.Kind

DERIVED = re.compile(r"language:[a-z]{2,3}(-[a-z0-9]{2,8})?|size:[1-9]\d{0,4}x[1-9]\d{0,4}", re.ASCII)


@dataclass(slots=True)
class Blocks:
    """Plain values to compare an ad's own with, as decision.types.Slot holds them."""

    advertisers: set[int] = field(default_factory=set)
    categories: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)


def resolved(
    rules: Iterable[BlockRule], graph: Graph, *, categories: Collection[str], domains: Collection[str]
) -> Blocks:
    """The rules over ads of these categories (as campaigns write them) and landing domains."""
    found = Blocks()
    for rule in rules:
        if rule.kind == Kind.ADVERTISER and rule.advertiser_id is not None:
            found.advertisers.add(rule.advertiser_id)
        elif rule.kind == Kind.CATEGORY:
            reach = graph.reach(rule.value)
            found.categories.update(one for one in categories if folded(one) in reach)
        elif rule.kind == Kind.DOMAIN:
            found.domains.update(one for one in domains if is_within(one, rule.value))
        else:
            found.attributes.add(rule.value)
    return found


def is_within(host: str, domain: str) -> bool:
    """Whether a host is the domain or lies below it."""
    return host == domain or host.endswith(f".{domain}")


def is_attribute(value: str) -> bool:
    """Whether ads can have it: what is said of them, or their format, size or language."""
    kind, _, rest = value.partition(":")
    return (
        value in CreativeAttribute.values
        or (kind == "format" and rest in AdFormat.values)
        or DERIVED.fullmatch(value) is not None
    )
