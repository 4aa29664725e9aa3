"""Where a person lands, the switch between their organisations, and the first step after signing up."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts import queries, services
from adplatform.accounts.forms import OrganisationForm
from adplatform.portal import pages
from adplatform.portal.messages import success


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """To the pages of the person's part: advertiser, publisher, operator, or the first step."""
    membership = pages.current(request)
    if membership is None:
        return redirect("/console/" if pages.person(request).is_staff else "portal:organisation_new")
    if membership.organisation.kind == pages.PUBLISHER:
        return redirect("portal:publisher_overview")
    return redirect("portal:overview")


@require_POST
@login_required
def switch(request: HttpRequest) -> HttpResponse:
    membership = queries.membership_for(pages.person(request), _public_id(request))
    pages.work_in(request, membership)
    return redirect("portal:home")


def _public_id(request: HttpRequest) -> str:
    """A well-formed id; anything else is nobody's."""
    try:
        return str(UUID(request.POST.get("organisation", "")))
    except ValueError:
        raise Http404 from None


@login_required
def organisation_new(request: HttpRequest) -> HttpResponse:
    form = OrganisationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        membership = services.found_organisation(user=pages.person(request), **form.cleaned_data)
        pages.work_in(request, membership)
        success(request, _("%(name)s is ready.") % {"name": membership.organisation})
        return redirect("portal:home")
    return render(request, "portal/organisation_new.html", {"form": form}, status=422 if form.errors else 200)
