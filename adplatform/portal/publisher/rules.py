"""What the publisher demands of ads: blocks with what they would cost, floors by country and device, competitors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Membership
from adplatform.core import clock
from adplatform.insights import blocked
from adplatform.inventory import rights
from adplatform.inventory.models import BlockRule, Category, FloorRule, Scoped
from adplatform.inventory.queries import (
    block_for,
    floor_for,
    pairs_of,
    removed_rules_of,
    rules_of,
    sites_of,
)
from adplatform.portal import pages
from adplatform.portal.messages import error, success
from adplatform.portal.publisher.rights_forms import BlockForm, FloorForm, PairForm

UNDO_FOR = timedelta(days=30)  # how long the page offers to put a removed rule back


@pages.page(pages.PUBLISHER)
def rule_list(request: HttpRequest, membership: Membership) -> HttpResponse:
    return _list(request, membership)


def _list(request: HttpRequest, membership: Membership, **forms: Any) -> HttpResponse:
    publisher, since = membership.organisation, clock.now() - UNDO_FOR
    removed: list[Scoped] = [
        rule
        for model in (BlockRule, FloorRule)
        for rule in removed_rules_of(model, publisher).filter(removed_at__gte=since)
    ]
    context = {
        "section": "rules",
        "organisation": publisher,
        "membership": membership,
        "blocks": rules_of(BlockRule, publisher),
        "floors": rules_of(FloorRule, publisher),
        "pairs": pairs_of(publisher),
        "sites": sites_of(publisher),
        "removed": [(rule, isinstance(rule, BlockRule)) for rule in removed],
        "floor_form": FloorForm(publisher=publisher),
        "pair_form": PairForm(),
        **_known(membership),
    } | forms
    failed = any(form.errors for form in forms.values())
    return render(request, "portal/publisher/rules.html", context, status=422 if failed else 200)


def _known(membership: Membership) -> dict[str, Any]:
    """What the inputs suggest."""
    return {
        "advertisers": blocked.advertisers_on(membership.organisation, at=clock.now()),
        "categories": Category.objects.values_list("name", flat=True),
    }


@pages.page(pages.PUBLISHER, edit=True)
def new_block(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The form; sent once it shows what the block would cost, and sent again unchanged it saves it."""
    publisher = membership.organisation
    form = BlockForm(request.POST or None, publisher=publisher)
    context: dict[str, Any] = {"section": "rules", "organisation": publisher, "form": form}
    if form.is_valid():
        rule = form.rule()
        cost = blocked.cost(rule, at=clock.now())
        if request.POST.get("save") == form.digest:
            saved = rights.save_block(user=pages.person(request), rule=rule, forecast=cost.as_json())
            success(request, _("“%(name)s” is blocked within seconds.") % {"name": saved})
            return redirect("portal:publisher_rules")
        context |= {"rule": rule, "cost": cost, "digest": form.digest, "days": blocked.DAYS}
    status = 422 if form.errors else 200
    return render(request, "portal/publisher/block_new.html", context | _known(membership), status=status)


@require_POST
@pages.page(pages.PUBLISHER, edit=True)
def save_floor(request: HttpRequest, membership: Membership) -> HttpResponse:
    form = FloorForm(request.POST, publisher=membership.organisation)
    if form.is_valid():
        try:
            saved = rights.save_floor(user=pages.person(request), **form.fields_of_floor())
        except rights.RightsError as refusal:
            form.add_error(None, str(refusal))
        else:
            success(request, _("The floor of “%(name)s” holds within seconds.") % {"name": saved})
            return redirect("portal:publisher_rules")
    return _list(request, membership, floor_form=form)


@require_POST
@pages.page(pages.PUBLISHER, edit=True)
def name_pair(request: HttpRequest, membership: Membership) -> HttpResponse:
    form = PairForm(request.POST)
    if form.is_valid():
        one, other = form.cleaned_data["one"], form.cleaned_data["other"]
        try:
            rights.name_competitors(
                user=pages.person(request), publisher=membership.organisation, one=one, other=other
            )
        except rights.RightsError as refusal:
            form.add_error(None, str(refusal))
        else:
            success(request, _("%(one)s and %(other)s never stand together.") % {"one": one, "other": other})
            return redirect("portal:publisher_rules")
    return _list(request, membership, pair_form=form)


@require_POST
@pages.page(pages.PUBLISHER, edit=True)
def forget_pair(request: HttpRequest, membership: Membership, pk: int) -> HttpResponse:
    pair = get_object_or_404(pairs_of(membership.organisation), pk=pk)
    rights.forget_competitors(user=pages.person(request), pair=pair)
    success(request, _("%(pair)s may stand together again.") % {"pair": pair})
    return redirect("portal:publisher_rules")


@require_POST
@pages.object_page(block_for, lambda rule: rule.publisher, edit=True)
def switch_block(request: HttpRequest, rule: BlockRule, action: str) -> HttpResponse:
    return _switched(request, rule, action)


@require_POST
@pages.object_page(floor_for, lambda rule: rule.publisher, edit=True)
def switch_floor(request: HttpRequest, rule: FloorRule, action: str) -> HttpResponse:
    return _switched(request, rule, action)


def _switched(request: HttpRequest, rule: BlockRule | FloorRule, action: str) -> HttpResponse:
    """Removed, or put back."""
    user = pages.person(request)
    try:
        if action == "remove":
            rights.remove(user=user, rule=rule, at=clock.now())
            success(request, _("“%(name)s” is removed; below you can put it back.") % {"name": rule})
        else:
            rights.restore(user=user, rule=rule)
            success(request, _("“%(name)s” holds again within seconds.") % {"name": rule})
    except rights.RightsError as refusal:
        error(request, str(refusal))
    return redirect("portal:publisher_rules")
