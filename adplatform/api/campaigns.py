"""Campaigns, line items and creatives of the key's organisation, through the same services as the portal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema
from ninja.responses import Status as Result

from adplatform.accounts.models import Organisation
from adplatform.api.audit import noted
from adplatform.api.auth import Key, organisation_of
from adplatform.api.paging import paged
from adplatform.api.problems import ProblemError
from adplatform.api.schemas.campaigns import (
    AudienceOut,
    CampaignChange,
    CampaignNew,
    CampaignOut,
    CapChange,
    CapOut,
    CreativeChange,
    CreativeNew,
    CreativeOut,
    LineItemChange,
    LineItemNew,
    LineItemOut,
    StatusChange,
)
from adplatform.audience.models import Segment
from adplatform.campaigns import caps, services
from adplatform.campaigns.models import AdvertiserCap, Campaign, Creative, LineItem
from adplatform.core import clock

router = Router(tags=["campaigns"])
READ, WRITE = Key("read"), Key("write")
ADVERTISER = Organisation.Kind.ADVERTISER


# --- doorways: what is not the key's organisation's does not exist ----------------------------------------------------


def campaigns_of(request: HttpRequest) -> QuerySet[Campaign]:
    organisation = organisation_of(request, ADVERTISER)
    return Campaign.objects.filter(organisation=organisation).select_related("organisation").order_by("pk")


def campaign_of(request: HttpRequest, public_id: UUID) -> Campaign:
    return get_object_or_404(campaigns_of(request), public_id=public_id)


def line_item_of(request: HttpRequest, public_id: UUID) -> LineItem:
    rows = LineItem.objects.select_related("campaign__organisation")
    return get_object_or_404(
        rows, public_id=public_id, campaign__organisation=organisation_of(request, ADVERTISER)
    )


def creative_of(request: HttpRequest, public_id: UUID) -> Creative:
    rows = Creative.objects.select_related("line_item__campaign__organisation")
    owner = organisation_of(request, ADVERTISER)
    return get_object_or_404(rows, public_id=public_id, line_item__campaign__organisation=owner)


# --- campaigns --------------------------------------------------------------------------------------------------------


@router.get("/campaigns", response=list[CampaignOut], auth=READ)
@paged
def list_campaigns(request: HttpRequest, status: str = "", search: str = "") -> QuerySet[Campaign]:
    rows = campaigns_of(request)
    if status:
        rows = rows.filter(status=status)
    return rows.filter(name__icontains=search) if search else rows


@router.post("/campaigns", response={201: CampaignOut}, auth=WRITE)
@noted
def create_campaign(request: HttpRequest, payload: CampaignNew) -> Result[Campaign]:
    organisation = organisation_of(request, ADVERTISER)
    campaign = services.create_campaign(
        user=None, organisation=organisation, at=clock.now(), **payload.dict(exclude_none=True)
    )
    return Result(201, campaign)


@router.get("/campaigns/{uuid:public_id}", response=CampaignOut, auth=READ)
def get_campaign(request: HttpRequest, public_id: UUID) -> Campaign:
    return campaign_of(request, public_id)


@router.patch("/campaigns/{uuid:public_id}", response=CampaignOut, auth=WRITE)
@noted
def change_campaign(request: HttpRequest, public_id: UUID, payload: CampaignChange) -> Campaign:
    campaign = campaign_of(request, public_id)
    fields = _given(payload)
    _check_flight(campaign, fields)
    return services.update_campaign(user=None, campaign=campaign, at=clock.now(), **fields)


@router.post("/campaigns/{uuid:public_id}/status", response=CampaignOut, auth=WRITE)
@noted
def set_campaign_status(request: HttpRequest, public_id: UUID, payload: StatusChange) -> Campaign:
    """Launch or resume (active), pause, archive."""
    campaign = campaign_of(request, public_id)
    return services.set_campaign_status(user=None, campaign=campaign, status=payload.status, at=clock.now())


# --- line items -------------------------------------------------------------------------------------------------------


@router.get("/campaigns/{uuid:public_id}/line-items", response=list[LineItemOut], auth=READ)
@paged
def list_line_items(request: HttpRequest, public_id: UUID) -> QuerySet[LineItem]:
    return campaign_of(request, public_id).line_items.order_by("pk")


@router.post("/campaigns/{uuid:public_id}/line-items", response={201: LineItemOut}, auth=WRITE)
@noted
def create_line_item(request: HttpRequest, public_id: UUID, payload: LineItemNew) -> Result[LineItem]:
    campaign, fields = campaign_of(request, public_id), _given(payload)
    _check_segments(campaign.organisation, fields)
    return Result(201, services.save_line_item(user=None, campaign=campaign, **fields))


@router.get("/line-items/{uuid:public_id}", response=LineItemOut, auth=READ)
def get_line_item(request: HttpRequest, public_id: UUID) -> LineItem:
    return line_item_of(request, public_id)


@router.patch("/line-items/{uuid:public_id}", response=LineItemOut, auth=WRITE)
@noted
def change_line_item(request: HttpRequest, public_id: UUID, payload: LineItemChange) -> LineItem:
    line_item, fields = line_item_of(request, public_id), _given(payload)
    _check_segments(line_item.campaign.organisation, fields)
    return services.save_line_item(user=None, campaign=line_item.campaign, line_item=line_item, **fields)


@router.post("/line-items/{uuid:public_id}/status", response=LineItemOut, auth=WRITE)
@noted
def set_line_item_status(request: HttpRequest, public_id: UUID, payload: StatusChange) -> LineItem:
    line_item = line_item_of(request, public_id)
    return services.set_line_item_status(user=None, line_item=line_item, status=payload.status)


# --- creatives --------------------------------------------------------------------------------------------------------


@router.get("/line-items/{uuid:public_id}/creatives", response=list[CreativeOut], auth=READ)
@paged
def list_creatives(request: HttpRequest, public_id: UUID) -> QuerySet[Creative]:
    return line_item_of(request, public_id).creatives.order_by("pk")


@router.post("/line-items/{uuid:public_id}/creatives", response={201: CreativeOut}, auth=WRITE)
@noted
def create_creative(request: HttpRequest, public_id: UUID, payload: CreativeNew) -> Result[Creative]:
    """It waits for review and serves once it is approved."""
    line_item = line_item_of(request, public_id)
    return Result(201, services.save_creative(user=None, line_item=line_item, **_given(payload)))


@router.get("/creatives/{uuid:public_id}", response=CreativeOut, auth=READ)
def get_creative(request: HttpRequest, public_id: UUID) -> Creative:
    return creative_of(request, public_id)


@router.patch("/creatives/{uuid:public_id}", response=CreativeOut, auth=WRITE)
@noted
def change_creative(request: HttpRequest, public_id: UUID, payload: CreativeChange) -> Creative:
    creative = creative_of(request, public_id)
    return services.save_creative(
        user=None, line_item=creative.line_item, creative=creative, **_given(payload)
    )


@router.post("/creatives/{uuid:public_id}/status", response=CreativeOut, auth=WRITE)
@noted
def set_creative_status(request: HttpRequest, public_id: UUID, payload: StatusChange) -> Creative:
    return services.set_creative_status(
        user=None, creative=creative_of(request, public_id), status=payload.status
    )


# --- the advertiser as a whole ----------------------------------------------------------------------------------------


@router.get("/frequency-cap", response=CapOut, auth=READ, tags=["organisation"])
def get_frequency_cap(request: HttpRequest) -> AdvertiserCap:
    """How often one visitor may see any ad of the organisation."""
    organisation = organisation_of(request, ADVERTISER)
    return caps.of_advertiser(organisation) or AdvertiserCap(organisation=organisation)


@router.patch("/frequency-cap", response=CapOut, auth=WRITE, tags=["organisation"])
@noted
def change_frequency_cap(request: HttpRequest, payload: CapChange) -> AdvertiserCap:
    organisation = organisation_of(request, ADVERTISER)
    present = caps.initial_of(caps.of_advertiser(organisation) or AdvertiserCap(organisation=organisation))
    wanted: dict[str, Any] = present | _given(payload)
    return services.set_advertiser_cap(user=None, organisation=organisation, **wanted)


@router.get("/audiences", response=list[AudienceOut], auth=READ, tags=["audiences"])
@paged
def list_audiences(request: HttpRequest) -> QuerySet[Segment]:
    return Segment.objects.filter(organisation=organisation_of(request, ADVERTISER)).order_by("name", "pk")


# --- what they share --------------------------------------------------------------------------------------------------

_NULLABLE = {"daily_budget_micros", "flight_budget_micros", "target_roas_bp", "end_at", "cap_impressions"}


def _given(payload: Schema) -> dict[str, Any]:
    """Only what the request said; null where null means something, refused elsewhere."""
    fields = payload.dict(exclude_unset=True)
    for name in [name for name, value in fields.items() if value is None and name not in _NULLABLE]:
        raise ProblemError(422, "invalid_request", f"{name} cannot be null.", {name: "This cannot be null."})
    return fields


def _check_flight(campaign: Campaign, fields: Mapping[str, Any]) -> None:
    start, end = fields.get("start_at", campaign.start_at), fields.get("end_at", campaign.end_at)
    if end is not None and end <= start:
        raise ProblemError(
            422,
            "invalid_request",
            "The flight ends before it starts.",
            {"end_at": "It must lie after start_at."},
        )


def _check_segments(organisation: Organisation, fields: Mapping[str, Any]) -> None:
    """Segments of others do not exist."""
    rule = (fields.get("targeting") or {}).get("segment", {})
    wanted = {*rule.get("include", []), *rule.get("exclude", [])}
    own = set(Segment.objects.filter(organisation=organisation, pk__in=wanted).values_list("pk", flat=True))
    if missing := wanted - own:
        raise ProblemError(
            422,
            "invalid_request",
            "The targeting cannot be read.",
            {"targeting.segment": f"There is no audience {min(missing)}."},
        )
