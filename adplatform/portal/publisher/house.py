"""The publisher's own ads, shown where no paid ad wins, and how often each stood there."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Membership, Organisation
from adplatform.core import clock
from adplatform.insights import queries
from adplatform.inventory import rights
from adplatform.inventory.models import HouseAd
from adplatform.inventory.queries import house_ad_for, removed_rules_of, rules_of, slots_of
from adplatform.portal import pages, ranges
from adplatform.portal.messages import success
from adplatform.portal.publisher.rights_forms import HouseAdForm
from adplatform.portal.publisher.rules import UNDO_FOR


@pages.page(pages.PUBLISHER)
def house_list(request: HttpRequest, membership: Membership) -> HttpResponse:
    publisher = membership.organisation
    range = ranges.asked(request, publisher)
    shown = queries.instead(publisher, range)
    removed = removed_rules_of(HouseAd, publisher).filter(removed_at__gte=clock.now() - UNDO_FOR)
    context = {
        "section": "house",
        "organisation": publisher,
        "membership": membership,
        "range": range,
        "ads": [(ad, shown.get(f"house:{ad.pk}", 0)) for ad in rules_of(HouseAd, publisher)],
        "removed": removed,
        "fill": queries.fill(publisher, range),
        "house_shown": sum(n for code, n in shown.items() if code.startswith("house:")),
        "passback_shown": shown.get("passback", 0),
        "slots": slots_of(publisher),
    }
    return render(request, "portal/publisher/house.html", context)


@pages.page(pages.PUBLISHER, edit=True)
def new_house_ad(request: HttpRequest, membership: Membership) -> HttpResponse:
    return _form(request, membership.organisation, None)


@pages.object_page(house_ad_for, lambda ad: ad.publisher, edit=True)
def edit_house_ad(request: HttpRequest, ad: HouseAd) -> HttpResponse:
    return _form(request, ad.publisher, ad)


def _form(request: HttpRequest, publisher: Organisation, ad: HouseAd | None) -> HttpResponse:
    form = HouseAdForm(request.POST or None, publisher=publisher, ad=ad)
    if form.is_valid():
        try:
            saved = rights.save_house_ad(
                user=pages.person(request), publisher=publisher, ad=ad, **form.fields_of_ad()
            )
        except rights.RightsError as refusal:
            form.add_error(None, str(refusal))
        else:
            success(request, _("“%(name)s” is saved and serves within seconds.") % {"name": saved})
            return redirect("portal:publisher_house")
    context = {"section": "house", "organisation": publisher, "ad": ad, "form": form}
    return render(request, "portal/publisher/house_edit.html", context, status=422 if form.errors else 200)


@require_POST
@pages.object_page(house_ad_for, lambda ad: ad.publisher, edit=True)
def switch_house_ad(request: HttpRequest, ad: HouseAd, action: str) -> HttpResponse:
    """Removed, or put back."""
    user = pages.person(request)
    if action == "remove":
        rights.remove(user=user, rule=ad, at=clock.now())
        success(request, _("“%(name)s” is removed; below you can put it back.") % {"name": ad})
    else:
        rights.restore(user=user, rule=ad)
        success(request, _("“%(name)s” may be shown again.") % {"name": ad})
    return redirect("portal:publisher_house")
