"""Creatives that wait for an operator's verdict; keyboard: a approves, r asks for the reason, j and k move, u undoes."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Case, F, OuterRef, Subquery, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.campaigns import review as reviews
from adplatform.campaigns.models import Creative
from adplatform.console.access import operator, operator_page
from adplatform.core import clock
from adplatform.inventory.models import CreativeAttribute
from adplatform.learning.models import CreativeRating, SimilarAds

LAST = "last_verdict"
PAGE_SIZE = 20
NEEDS_A_LOOK = 0.5  # chance that an operator would call the ad bad, by the classifier of labels


@operator_page
def queue(request: HttpRequest) -> HttpResponse:
    rating = CreativeRating.objects.filter(creative_id=OuterRef("pk")).values("bad")
    # Those that the classifier takes for bad first; among the others who waits longest, as ever.
    waiting = reviews.waiting().annotate(bad=Subquery(rating))
    waiting = waiting.order_by(
        Case(When(bad__gte=NEEDS_A_LOOK, then=-F("bad")), default=0.0), "updated_at", "pk"
    )
    decided = Creative.objects.filter(reviewed_at__isnull=False).select_related(
        "line_item__campaign__organisation", "reviewed_by"
    )
    page = Paginator(waiting, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "section": "review",
        "page_obj": page,
        "cards": list(zip(page, _neighbours(page), strict=True)),
        "needs_a_look": NEEDS_A_LOOK,
        "attributes": CreativeAttribute.choices,
        "last": _last(request),
        "decided": decided.order_by("-reviewed_at")[:10],
    }
    return render(request, "console/review.html", context)


def _neighbours(page: Iterable[Creative]) -> list[list[tuple[Creative, float]] | None]:
    """Of each creative of the page, the ads with a verdict that read like it, rejected ones first; None where it has
    not been compared yet."""
    near = {
        one.pk: one.reviewed for one in SimilarAds.objects.filter(pk__in=[creative.pk for creative in page])
    }
    wanted = {pk for pairs in near.values() for pk, _cosine in pairs}
    rows = Creative.objects.filter(pk__in=wanted, reviewed_at__isnull=False)
    ads = rows.select_related("line_item__campaign__organisation").in_bulk()

    def told(pairs: list[tuple[int, float]]) -> list[tuple[Creative, float]]:
        known = [(ads[pk], cosine) for pk, cosine in pairs if pk in ads]
        return sorted(known, key=lambda pair: (pair[0].review != Creative.Review.REJECTED, -pair[1]))

    return [told(near[creative.pk]) if creative.pk in near else None for creative in page]


def _last(request: HttpRequest) -> Creative | None:
    """The creative of the last verdict, for which the page offers to undo it."""
    public_id = request.session.get(LAST)
    return Creative.objects.filter(public_id=public_id).first() if public_id else None


@require_POST
@operator_page
def verdict(request: HttpRequest, public_id: UUID) -> HttpResponse:
    creative = get_object_or_404(Creative, public_id=public_id)
    try:
        if request.POST.get("verdict") == "approve":
            reviews.approve(
                user=operator(request), creative=creative, at=clock.now(), attributes=_found(request)
            )
        else:
            reviews.reject(
                user=operator(request), creative=creative, note=request.POST.get("note", ""), at=clock.now()
            )
    except reviews.ReviewError as error:
        messages.error(request, str(error))
    else:
        request.session[LAST] = str(public_id)
    return redirect("console:review")


def _found(request: HttpRequest) -> list[str] | None:
    """What the reviewer ticked; None where the form did not ask."""
    return request.POST.getlist("attributes") if "attributes_shown" in request.POST else None


@require_POST
@operator_page
def undo(request: HttpRequest, public_id: UUID) -> HttpResponse:
    creative = get_object_or_404(Creative, public_id=public_id)
    reviews.reopen(user=operator(request), creative=creative)
    request.session.pop(LAST, None)
    messages.success(request, _("“%(name)s” waits for review again.") % {"name": creative.name})
    return redirect("console:review")
