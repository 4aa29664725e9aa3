"""The parts of the portal's shell that depend on who looks: menu, organisation switcher, search, banner."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest
from django.template import Context
from django.urls import NoReverseMatch, reverse

from adplatform.accounts import queries
from adplatform.accounts.models import Membership
from adplatform.billing import low_balance
from adplatform.portal import navigation, pages

register = template.Library()


@register.inclusion_tag("portal/_sidebar.html", takes_context=True)
def portal_sidebar(context: Context) -> dict[str, Any]:
    """The organisation switcher and the menu of its kind."""
    request, membership = _who(context)
    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "membership": membership,
        "memberships": list(queries.memberships_of(pages.person(request))) if membership else [],
        "entries": _entries(membership, context.get("section")),
    }


@register.inclusion_tag("portal/_search.html", takes_context=True)
def portal_search(context: Context) -> dict[str, Any]:
    request, membership = _who(context)
    return {"shown": _is_advertiser(membership), "query": request.GET.get("q", "")}


@register.inclusion_tag("portal/_actions.html", takes_context=True)
def portal_actions(context: Context) -> dict[str, Any]:
    _request, membership = _who(context)
    return {"shown": _is_advertiser(membership) and membership is not None and membership.may_edit}


@register.inclusion_tag("portal/_banner.html", takes_context=True)
def portal_banner(context: Context) -> dict[str, Any]:
    """Says on every page that little money is left, and of the demo market that its data are synthetic."""
    _request, membership = _who(context)
    if membership is None:
        return {}
    organisation = membership.organisation
    return {
        "synthetic": organisation.is_synthetic,
        "low_balance": low_balance.of(organisation) if _is_advertiser(membership) else None,
        "currency": organisation.currency,
    }


def _who(context: Context) -> tuple[HttpRequest, Membership | None]:
    request: HttpRequest = context["request"]
    return request, pages.current(request)


def _is_advertiser(membership: Membership | None) -> bool:
    return membership is not None and membership.organisation.kind == pages.ADVERTISER


def _entries(membership: Membership | None, section: str | None) -> list[dict[str, Any]]:
    if membership is None:
        return []
    kind = navigation.ADVERTISER if _is_advertiser(membership) else navigation.PUBLISHER
    entries = []
    for key, name, label, symbol in [*kind, *navigation.COMMON]:
        try:
            url = reverse(name)
        except NoReverseMatch:
            continue
        entries.append({"url": url, "label": label, "symbol": symbol, "current": key == section})
    return entries
