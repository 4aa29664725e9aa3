"""The advertiser's creatives with their review, and the form that makes or changes one beside its preview."""

from __future__ import annotations

from functools import partial

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts.models import Membership, Organisation
from adplatform.campaigns import services
from adplatform.campaigns.forms import CreativeForm
from adplatform.campaigns.models import Creative, LineItem
from adplatform.campaigns.queries import creative_for, creatives_of_organisation, line_item_for
from adplatform.core import clock
from adplatform.portal import pages, ranges
from adplatform.portal.advertiser.editing import change_status, likeness, owner_of_line_item
from adplatform.portal.advertiser.tables import creative_rows
from adplatform.portal.advertiser.wizard import status
from adplatform.portal.messages import success

PER_PAGE = 50


def owner_of_creative(creative: Creative) -> Organisation:
    return creative.line_item.campaign.organisation


@pages.page(pages.ADVERTISER)
def creative_list(request: HttpRequest, membership: Membership) -> HttpResponse:
    organisation = membership.organisation
    range = ranges.asked(request, organisation)
    review = request.GET.get("review", "")
    found = creatives_of_organisation(organisation, review=review if review in Creative.Review.values else "")
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "section": "creatives",
        "organisation": organisation,
        "membership": membership,
        "range": range,
        "page": page,
        "rows": creative_rows(page, organisation, range),
        "review": review,
        "reviews": Creative.Review.choices,
    }
    return render(request, "portal/creatives.html", context)


@pages.object_page(line_item_for, owner_of_line_item, edit=True)
def new_creative(request: HttpRequest, line_item: LineItem) -> HttpResponse:
    return _creative(request, line_item, None)


@pages.object_page(creative_for, owner_of_creative, edit=True)
def edit_creative(request: HttpRequest, creative: Creative) -> HttpResponse:
    return _creative(request, creative.line_item, creative)


def _creative(request: HttpRequest, line_item: LineItem, creative: Creative | None) -> HttpResponse:
    form = CreativeForm(request.POST or None, creative=creative)
    if form.is_valid():
        try:
            saved = services.save_creative(
                user=pages.person(request),
                line_item=line_item,
                creative=creative,
                **form.fields_of_creative(),
            )
        except services.CampaignError as refusal:
            form.add_error(None, str(refusal))
        else:
            _say(request, saved)
            return redirect("portal:campaign", line_item.campaign.public_id)
    context = {
        "section": "creatives",
        "campaign": line_item.campaign,
        "line_item": line_item,
        "creative": creative,
        "form": form,
        "likeness": likeness([creative], line_item, at=clock.now()) if creative else None,
    }
    return render(request, "portal/creative_edit.html", context, status=status(form))


def _say(request: HttpRequest, creative: Creative) -> None:
    if creative.review == Creative.Review.PENDING:
        success(request, _("“%(name)s” is saved and waits for review.") % {"name": creative})
    else:
        success(request, _("“%(name)s” is saved.") % {"name": creative})


@require_POST
@pages.object_page(creative_for, owner_of_creative, edit=True)
def creative_status(request: HttpRequest, creative: Creative) -> HttpResponse:
    change = partial(services.set_creative_status, creative=creative)
    return change_status(request, creative, change, campaign=creative.line_item.campaign)
