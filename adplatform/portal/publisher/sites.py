"""The publisher's sites with their slots; a new site, a changed one."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from adplatform.accounts.models import Membership, Organisation
from adplatform.inventory import services
from adplatform.inventory.forms import SiteForm
from adplatform.inventory.models import Site
from adplatform.inventory.queries import site_for, sites_of
from adplatform.learning import suggestions
from adplatform.portal import pages, ranges
from adplatform.portal.messages import success
from adplatform.portal.publisher.numbers import slot_rows


@pages.page(pages.PUBLISHER)
def site_list(request: HttpRequest, membership: Membership) -> HttpResponse:
    publisher = membership.organisation
    range = ranges.asked(request, publisher)
    sites = list(sites_of(publisher))
    rows = {
        row.slot.pk: row
        for row in slot_rows(publisher, [slot for site in sites for slot in site.slots.all()], range)
    }
    context = {
        "section": "sites",
        "organisation": publisher,
        "membership": membership,
        "range": range,
        "sites": [(site, [rows[slot.pk] for slot in site.slots.all()]) for site in sites],
    }
    return render(request, "portal/publisher/sites.html", context)


@pages.page(pages.PUBLISHER, edit=True)
def new_site(request: HttpRequest, membership: Membership) -> HttpResponse:
    return _form(request, membership.organisation, None)


@pages.object_page(site_for, lambda site: site.publisher, edit=True)
def edit_site(request: HttpRequest, site: Site) -> HttpResponse:
    return _form(request, site.publisher, site)


def _form(request: HttpRequest, publisher: Organisation, site: Site | None) -> HttpResponse:
    form = SiteForm(request.POST or None, publisher=publisher, site=site)
    if form.is_valid():
        saved = services.save_site(
            user=pages.person(request), publisher=publisher, site=site, **form.cleaned_data
        )
        success(request, _("“%(name)s” is saved.") % {"name": saved})
        return (
            redirect("portal:publisher_sites")
            if site
            else redirect("portal:publisher_slot_new", saved.public_id)
        )
    context = {
        "section": "sites",
        "organisation": publisher,
        "site": site,
        "form": form,
        "suggestion": suggestions.for_site(site) if site else None,
    }
    return render(request, "portal/publisher/site_edit.html", context, status=422 if form.errors else 200)
