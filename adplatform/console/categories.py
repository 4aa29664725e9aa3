"""The category graph: what lies in what, what is related, and which sites and campaigns name no known category."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts.models import User
from adplatform.campaigns.models import Campaign
from adplatform.campaigns.services import update_campaign
from adplatform.console.access import operator, operator_page
from adplatform.core import clock
from adplatform.decision.rules import folded
from adplatform.inventory import categories
from adplatform.inventory.categories import CategoryError
from adplatform.inventory.models import Category, Site
from adplatform.inventory.services import save_site
from adplatform.learning.models import CategorySuggestion

Kind = CategorySuggestion.Kind


@operator_page
def graph(request: HttpRequest) -> HttpResponse:
    rows = list(Category.objects.select_related("parent").order_by("name"))
    named = {
        "campaigns": [folded(name) for name in Campaign.objects.values_list("category", flat=True)],
        "sites": [folded(name) for name in Site.objects.values_list("category", flat=True)],
    }
    unknown = sorted(
        {name for names in named.values() for name in names if name} - {one.name for one in rows}
    )
    context = {
        "section": "rules",
        "rows": [
            {
                "category": one,
                "depth": range(depth),
                "related": categories.links_of(one),
                "campaigns": named["campaigns"].count(one.name),
                "sites": named["sites"].count(one.name),
            }
            for depth, one in categories.tree(rows)
        ],
        "categories": rows,
        "unknown": [(name, named["campaigns"].count(name), named["sites"].count(name)) for name in unknown],
        "suggestions": _suggestions(),
    }
    return render(request, "console/categories.html", context)


@require_POST
@operator_page
def change(request: HttpRequest, action: str) -> HttpResponse:
    """Add, move, relate or remove a category, or take a suggestion over."""
    act = ACTIONS.get(action)
    if act is None:
        raise Http404(action)
    try:
        messages.success(request, act(request, operator(request)))
    except CategoryError as error:
        messages.error(request, str(error))
    return redirect("console:categories")


def _save(request: HttpRequest, user: User) -> str:
    given = request.POST
    known = _category(given.get("category", "")) if given.get("category") else None
    parent = _category(given["parent"]) if given.get("parent") else None
    description = given.get("description", known.description if known else "")
    saved = categories.save(
        user=user,
        name=given.get("name", known.name if known else ""),
        parent=parent,
        description=description,
        category=known,
    )
    return _("“%s” is saved.") % saved.name


def _remove(request: HttpRequest, user: User) -> str:
    category = _category(request.POST.get("category", ""))
    categories.remove(user=user, category=category)
    return _("“%s” is removed from the graph. What names it keeps its name.") % category.name


def _relate(request: HttpRequest, user: User) -> str:
    one, other = (_category(request.POST.get(name, "")) for name in ("one", "other"))
    try:
        weight = float(request.POST.get("weight", ""))
    except ValueError:
        raise CategoryError(_("Give the weight as a number from 0 to 1.")) from None
    categories.relate(user=user, one=one, other=other, weight=weight)
    if not weight:
        return _("“%(one)s” and “%(other)s” are not related any more.") % {"one": one, "other": other}
    return _("“%(one)s” and “%(other)s” are related.") % {"one": one, "other": other}


def _take(request: HttpRequest, user: User) -> str:
    """Give a site or campaign the category that was suggested, as its owner's form would."""
    pk = request.POST.get("suggestion", "")
    found = CategorySuggestion.objects.filter(pk=pk).first() if pk.isdecimal() else None
    thing = _thing(found) if found else None
    if found is None or thing is None:
        raise CategoryError(_("This suggestion is gone: it was taken over, or its text changed."))
    if isinstance(thing, Site):
        save_site(user=user, publisher=thing.publisher, site=thing, category=found.category)
    else:
        update_campaign(user=user, campaign=thing, at=clock.now(), category=found.category)
    found.delete()
    return _("“%(thing)s” is in the category “%(category)s” now.") % {
        "thing": thing,
        "category": found.category,
    }


ACTIONS: dict[str, Callable[[HttpRequest, User], str]] = {
    "save": _save,
    "remove": _remove,
    "relate": _relate,
    "take": _take,
}


def _suggestions() -> list[dict[str, Any]]:
    rows = [(one, _thing(one)) for one in CategorySuggestion.objects.all()[:100]]
    return [{"suggestion": one, "thing": thing} for one, thing in rows if thing is not None]


def _thing(suggestion: CategorySuggestion) -> Site | Campaign | None:
    """What the suggestion is for."""
    if suggestion.kind == Kind.SITE:
        return Site.objects.select_related("publisher").filter(pk=suggestion.object_id).first()
    return Campaign.objects.select_related("organisation").filter(pk=suggestion.object_id).first()


def _category(name: str) -> Category:
    return get_object_or_404(Category, name=folded(name))
