"""The category graph: which category lies in which, what is related to what, and the operator's changes to it.

Names are compared folded (small letters, single spaces). A name that is not in the graph stands for itself alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from adplatform.accounts.models import User
from adplatform.accounts.services import audit
from adplatform.core import outbox
from adplatform.decision.rules import folded
from adplatform.inventory.models import Category, CategoryLink


class CategoryError(Exception):
    """A change to the graph that cannot be, in a sentence a person can act on."""


@dataclass(frozen=True)
class Graph:
    """Names by parent, and weights of related pairs in both directions."""

    parent: Mapping[str, str] = field(default_factory=dict)  # '' at the top
    related: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Graph:
        parent = {one.name: one.parent.name if one.parent else "" for one in _all()}
        related: dict[str, dict[str, float]] = defaultdict(dict)
        for link in CategoryLink.objects.select_related("first", "second"):
            related[link.first.name][link.second.name] = link.weight
            related[link.second.name][link.first.name] = link.weight
        return cls(parent, related)

    def above(self, name: str) -> list[str]:
        """The category itself and what it lies in, up to the top; a name that is not in the graph is alone."""
        chain = [folded(name)] if name.strip() else []
        while chain and (parent := self.parent.get(chain[-1], "")):
            chain.append(parent)
        return chain

    def reach(self, name: str, *, least_related: float | None = None) -> frozenset[str]:
        """The category, all that lies below it, and, where asked for, what is related by at least that weight."""
        wanted = folded(name)
        if not wanted:
            return frozenset()
        tops = {wanted}
        if least_related is not None:
            tops |= {
                other for other, weight in self.related.get(wanted, {}).items() if weight >= least_related
            }
        return frozenset(tops | {one for one in self.parent if tops & set(self.above(one))})


def tree(categories: Iterable[Category]) -> list[tuple[int, Category]]:
    """Every category with its depth, each below its parent, by name."""
    children: dict[int | None, list[Category]] = defaultdict(list)
    for one in categories:
        children[one.parent_id].append(one)
    rows: list[tuple[int, Category]] = []

    def walk(parent: int | None, depth: int) -> None:
        for one in children[parent]:
            rows.append((depth, one))
            walk(one.pk, depth + 1)

    walk(None, 0)
    return rows


@transaction.atomic
def save(
    *,
    user: User,
    name: str,
    parent: Category | None,
    description: str = "",
    category: Category | None = None,
) -> Category:
    """A new category, or one under another name, parent or description."""
    wanted = folded(name)
    if not wanted:
        raise CategoryError(_("Give the category a name."))
    others = Category.objects.filter(name=wanted)
    if (others.exclude(pk=category.pk) if category else others).exists():
        raise CategoryError(_("There is a category “%(name)s” already.") % {"name": wanted})
    if category is not None and parent is not None and category.name in Graph.load().above(parent.name):
        raise CategoryError(_("A category cannot lie in itself or in what lies below it."))
    made = category or Category()
    before = {"name": made.name, "parent": str(made.parent or ""), "description": made.description}
    made.name, made.parent, made.description = wanted, parent, description.strip()
    made.save()
    after = {"name": made.name, "parent": str(made.parent or ""), "description": made.description}
    changes = {key: [before[key], after[key]] for key in after if before[key] != after[key]}
    if changes:
        _record(user, "category.changed" if category else "category.created", wanted, changes)
    return made


@transaction.atomic
def remove(*, user: User, category: Category) -> None:
    """Take a category out of the graph; what names it keeps its name."""
    if category.children.exists():
        raise CategoryError(_("Move or remove what lies below “%(name)s” first.") % {"name": category.name})
    name, parent = category.name, str(category.parent or "")
    category.delete()
    _record(user, "category.removed", name, {"parent": parent})


@transaction.atomic
def relate(*, user: User, one: Category, other: Category, weight: float) -> None:
    """How closely two categories are related; 0 takes the link away."""
    if one.pk == other.pk:
        raise CategoryError(_("Choose two different categories."))
    if not 0 <= weight <= 1:
        raise CategoryError(_("A weight lies between 0 (not related) and 1 (the same to a reader)."))
    first, second = sorted((one, other), key=lambda category: category.pk)
    known = CategoryLink.objects.filter(first=first, second=second)
    before = known.values_list("weight", flat=True).first() or 0.0
    if weight == before:
        return
    if weight:
        CategoryLink.objects.update_or_create(first=first, second=second, defaults={"weight": weight})
    else:
        known.delete()
    _record(user, "category.related", f"{first} – {second}", {"weight": [before, weight]})


def links_of(category: Category) -> list[tuple[Category, float]]:
    """What is related to a category, the closest first."""
    rows = CategoryLink.objects.filter(Q(first=category) | Q(second=category)).select_related(
        "first", "second"
    )
    found = [(row.second if row.first_id == category.pk else row.first, row.weight) for row in rows]
    return sorted(found, key=lambda pair: (-pair[1], pair[0].name))


def _all() -> Iterable[Category]:
    return Category.objects.select_related("parent").order_by("name")


def _record(user: User, action: str, target: str, detail: Mapping[str, object]) -> None:
    audit(user=user, organisation=None, action=action, target=target, detail=detail)
    outbox.write("snapshot", {"reason": f"{action} {target}"})
