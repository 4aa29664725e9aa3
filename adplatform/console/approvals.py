"""What one operator asked for and another has to allow."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.billing import approvals as four_eyes
from adplatform.billing.gateways.base import GatewayError
from adplatform.billing.ledger import LedgerError
from adplatform.billing.models import Proposal
from adplatform.console.access import operator, operator_page
from adplatform.console.money_tabs import tabs
from adplatform.core import clock

SHOWN = 30


@operator_page
def approvals(request: HttpRequest) -> HttpResponse:
    proposals = Proposal.objects.select_related("organisation", "proposed_by", "decided_by")
    context = {
        "me": operator(request),
        "waiting": proposals.filter(state=Proposal.State.WAITING),
        "decided": proposals.exclude(state=Proposal.State.WAITING).order_by("-decided_at")[:SHOWN],
    }
    return render(request, "console/approvals.html", context | tabs("approvals"))


@require_POST
@operator_page
def decide(request: HttpRequest, key: str, action: str) -> HttpResponse:
    proposal = get_object_or_404(Proposal, key=key)
    acts = {"approve": four_eyes.approve, "refuse": four_eyes.refuse}
    if action not in acts:
        raise Http404
    try:
        acts[action](proposal, by=operator(request), at=clock.now())
    except (LedgerError, GatewayError) as error:
        messages.error(request, str(error))
    else:
        done = _("Approved: %s") if action == "approve" else _("Refused: %s")
        messages.success(request, done % proposal.words)
    return redirect("console:approvals")
