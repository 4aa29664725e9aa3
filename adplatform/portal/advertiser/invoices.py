"""The advertiser's invoices, each as PDF, and whom they are addressed to."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _

from adplatform.accounts import queries
from adplatform.accounts.models import Membership
from adplatform.accounts.services import audit
from adplatform.billing import invoices as documents
from adplatform.billing import pdf
from adplatform.billing.forms import ProfileForm
from adplatform.billing.models import BillingProfile
from adplatform.portal import pages
from adplatform.portal.messages import success

PER_PAGE = 24


@pages.page(pages.ADVERTISER)
def invoices(request: HttpRequest, membership: Membership) -> HttpResponse:
    found = documents.of(membership.organisation)
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    profile = BillingProfile.objects.filter(organisation=membership.organisation).first()
    return render(
        request, "portal/invoices.html", {"section": "billing", "page_obj": page, "profile": profile}
    )


@pages.page(pages.ADVERTISER)
def invoice_pdf(_request: HttpRequest, membership: Membership, public_id: str) -> HttpResponse:
    invoice = get_object_or_404(documents.of(membership.organisation), public_id=public_id)
    answer = HttpResponse(pdf.render(invoice), content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="{invoice}.pdf"'
    answer["Cache-Control"] = "private, no-store"
    return answer


@pages.page(pages.ADVERTISER)
def profile(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Who pays: only an owner or manager changes it."""
    organisation = membership.organisation
    known = BillingProfile.objects.filter(organisation=organisation).first()
    own = known or BillingProfile(organisation=organisation, legal_name=organisation.name)
    form = ProfileForm(request.POST or None, instance=own)
    if request.method == "POST":
        queries.require_edit(membership)
        if form.is_valid():
            form.save()
            audit(
                user=pages.person(request),
                organisation=organisation,
                action="billing.addressed",
                target=organisation.name,
                detail={"fields": form.changed_data},
            )
            success(request, _("From now on invoices are addressed so."))
            return redirect("portal:invoices")
    context = {"section": "billing", "form": form, "may_edit": membership.may_edit}
    return render(request, "portal/billing_profile.html", context, status=422 if form.errors else 200)
