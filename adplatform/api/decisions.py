"""Why one of the caller's own ads was shown: GET /api/v1/decisions/{decision_id}/explanation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Router

from adplatform.accounts.models import Organisation
from adplatform.api.auth import Key, organisation_of
from adplatform.api.schemas.decisions import ExplanationOut
from adplatform.campaigns.models import Creative

router = Router(tags=["decisions"])


@router.get("/decisions/{uuid:decision_id}/explanation", response=ExplanationOut, auth=Key("read"))
def explanation(request: HttpRequest, decision_id: UUID) -> dict[str, Any]:
    """What moved the click probability, in log odds: base + Σ groups + level = logit(pctr). Nothing that the visitor did
    is told. `is_exact` is false where the decision kept nothing to explain."""
    from adplatform.learning import explain, words  # numpy and the models' code: only where it is needed

    organisation = organisation_of(request, Organisation.Kind.ADVERTISER)
    found = explain.decision(decision_id.hex)
    if found is None or found.advertiser_id != organisation.pk:
        raise Http404
    told = explain.explained(found)
    creative = Creative.objects.select_related("line_item").get(pk=found.creative_id or 0)
    return {
        "decision_id": decision_id,
        "served_at": found.served_at,
        "creative_id": creative.public_id,
        "line_item_id": creative.line_item.public_id,
        "pctr": found.pctr,
        "propensity": found.propensity,
        "explored": found.explored,
        "factor": found.factor,
        "is_exact": told.is_exact,
        "base": told.base,
        "level": told.level,
        "groups": dict(told.groups),
        "bid_micros": found.bid_micros,
        "price_micros": found.price_micros,
        "floor_micros": found.floor_micros,
        "runner_up_micros": found.runner_up_micros,
        "reasons": [
            {"group": reason.group, "title": reason.title, "text": reason.text, "effect": reason.effect}
            for reason in words.for_advertiser(told)
        ],
    }
