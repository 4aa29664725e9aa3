"""Where a publisher's payouts go. Only an owner changes it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from adplatform.accounts import queries
from adplatform.accounts.models import Membership
from adplatform.accounts.services import audit
from adplatform.billing.forms import PayeeForm
from adplatform.billing.models import Payee
from adplatform.portal import pages
from adplatform.portal.messages import success


@pages.page(pages.PUBLISHER)
def payee(request: HttpRequest, membership: Membership) -> HttpResponse:
    queries.require_owner(membership)
    organisation = membership.organisation
    known = Payee.objects.filter(organisation=organisation).first()
    form = PayeeForm(request.POST or None, instance=known or Payee(organisation=organisation))
    if request.method == "POST" and form.is_valid():
        form.save()
        detail = {"account": f"…{form.instance.iban[-4:]}"}
        audit(
            user=pages.person(request),
            organisation=organisation,
            action="payee.changed",
            target=organisation.name,
            detail=detail,
        )
        success(request, _("The next payout goes there."))
        return redirect("portal:publisher_earnings")
    answer = render(
        request,
        "portal/publisher/payee.html",
        {"section": "earnings", "form": form, "is_new": known is None},
        status=422 if form.errors else 200,
    )
    answer["Cache-Control"] = "no-store"
    return answer
