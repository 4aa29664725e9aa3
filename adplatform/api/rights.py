"""What a publisher's key may demand: blocks with what they cost, floors, house ads, competitors."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema
from ninja.responses import Status as Result
from pydantic import Field

from adplatform.accounts.models import Organisation
from adplatform.api.audit import noted
from adplatform.api.auth import Key, organisation_of
from adplatform.api.paging import paged
from adplatform.api.schemas.base import MOST_MICROS, Name, Read
from adplatform.core import clock
from adplatform.core.tenants import platform
from adplatform.insights import blocked
from adplatform.inventory import rights
from adplatform.inventory.models import (
    AdFormat,
    AdSlot,
    BlockRule,
    CompetingPair,
    FloorRule,
    HouseAd,
    Scoped,
    Site,
)
from adplatform.inventory.queries import pairs_of, rules_of, slots_of

router = Router(tags=["publisher's rules"])
READ, WRITE = Key("read"), Key("write")
PUBLISHER = Organisation.Kind.PUBLISHER
Pixels = Annotated[int, Field(ge=1, le=10_000)]


class Scope(Read):
    """Public ids; both empty: all sites of the publisher."""

    site: str = ""
    slot: str = ""


class BlockNew(Scope):
    """`value` names a category, a domain or an attribute; `advertiser` the public id of one."""

    kind: BlockRule.Kind
    value: Annotated[str, Field(max_length=253)] = ""
    advertiser: UUID | None = None


class ScopeOut(Schema):
    public_id: UUID
    site: str | None
    slot: str | None
    created_at: datetime

    @staticmethod
    def resolve_site(row: Scoped) -> str | None:
        return row.site.public_id if row.site else None

    @staticmethod
    def resolve_slot(row: Scoped) -> str | None:
        return row.slot.public_id if row.slot else None


class BlockOut(ScopeOut):
    """`forecast`: what it would have cost in the seven days before it was added."""

    kind: BlockRule.Kind
    value: str
    advertiser: UUID | None
    forecast: dict[str, Any]

    @staticmethod
    def resolve_advertiser(row: BlockRule) -> UUID | None:
        return row.advertiser.public_id if row.advertiser else None


class FloorNew(Scope):
    """Of a site, or of a slot where a country or a device is named; the same place again changes the amount."""

    country: Annotated[str, Field(max_length=2)] = ""
    device: FloorRule.Device | None = None
    floor_micros: Annotated[int, Field(ge=0, le=MOST_MICROS)]


class FloorOut(ScopeOut):
    country: str
    device: str
    floor_micros: int


class HouseAdChange(Read):
    name: Name | None = None
    format: AdFormat | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    headline: Annotated[str, Field(min_length=1, max_length=90)] | None = None
    body: Annotated[str, Field(max_length=300)] | None = None
    call_to_action: Annotated[str, Field(max_length=40)] | None = None
    landing_url: Annotated[str, Field(max_length=2_000, pattern="^https://[^\\s]+$")] | None = None
    is_active: bool | None = None


class HouseAdNew(HouseAdChange, Scope):
    name: Name
    headline: Annotated[str, Field(min_length=1, max_length=90)]
    landing_url: Annotated[str, Field(max_length=2_000, pattern="^https://[^\\s]+$")]


class HouseAdOut(ScopeOut):
    name: str
    format: AdFormat
    width: int
    height: int
    headline: str
    body: str
    call_to_action: str
    landing_url: str
    is_active: bool


class PairNew(Read):
    """Public ids of two advertisers."""

    first: UUID
    second: UUID


class PairOut(Schema):
    id: int
    first: UUID = Field(alias="first.public_id")
    second: UUID = Field(alias="second.public_id")


class AdvertiserOut(Schema):
    public_id: UUID
    name: str


def _publisher(request: HttpRequest) -> Organisation:
    return organisation_of(request, PUBLISHER)


def _place(publisher: Organisation, scope: Scope) -> dict[str, Site | AdSlot | None]:
    site = get_object_or_404(Site, public_id=scope.site, publisher=publisher) if scope.site else None
    slot = get_object_or_404(slots_of(publisher), public_id=scope.slot) if scope.slot else None
    return {"site": site, "slot": slot}


@platform()
def _advertiser(public_id: UUID) -> Organisation:
    """Anybody's name stands in its ads, so that its id may be used; what it does is not told."""
    return get_object_or_404(Organisation, public_id=public_id, kind=Organisation.Kind.ADVERTISER)


def _block(request: HttpRequest, payload: BlockNew) -> BlockRule:
    publisher = _publisher(request)
    place: dict[str, Any] = _place(publisher, payload)
    return rights.block(
        publisher=publisher,
        kind=payload.kind,
        value=payload.value,
        advertiser=_advertiser(payload.advertiser) if payload.advertiser else None,
        **place,
    )


@router.get("/advertisers", response=list[AdvertiserOut], auth=READ)
@paged
def list_advertisers(request: HttpRequest) -> list[Organisation]:
    """Who stood on the publisher's pages in the last 30 days."""
    return blocked.advertisers_on(_publisher(request), at=clock.now())


# --- blocks -----------------------------------------------------------------------------------------------------------


@router.get("/blocks", response=list[BlockOut], auth=READ)
@paged
def list_blocks(request: HttpRequest) -> QuerySet[BlockRule]:
    return rules_of(BlockRule, _publisher(request))


@router.post("/blocks/preview", response=dict[str, Any], auth=READ)
def preview_block(request: HttpRequest, payload: BlockNew) -> dict[str, Any]:
    """What it would have cost in the last seven days; nothing is saved."""
    return blocked.cost(_block(request, payload), at=clock.now()).as_json()


@router.post("/blocks", response={201: BlockOut}, auth=WRITE)
@noted
def create_block(request: HttpRequest, payload: BlockNew) -> Result[BlockRule]:
    rule = _block(request, payload)
    return Result(
        201, rights.save_block(user=None, rule=rule, forecast=blocked.cost(rule, at=clock.now()).as_json())
    )


@router.delete("/blocks/{uuid:public_id}", response={204: None}, auth=WRITE)
@noted
def remove_block(request: HttpRequest, public_id: UUID) -> Result[None]:
    return _removed(request, BlockRule, public_id)


@router.post("/blocks/{uuid:public_id}/restore", response=BlockOut, auth=WRITE)
@noted
def restore_block(request: HttpRequest, public_id: UUID) -> BlockRule:
    rule = get_object_or_404(BlockRule, publisher=_publisher(request), public_id=public_id)
    return rights.restore(user=None, rule=rule)


# --- floors -----------------------------------------------------------------------------------------------------------


@router.get("/floors", response=list[FloorOut], auth=READ)
@paged
def list_floors(request: HttpRequest) -> QuerySet[FloorRule]:
    return rules_of(FloorRule, _publisher(request))


@router.put("/floors", response=FloorOut, auth=WRITE)
@noted
def set_floor(request: HttpRequest, payload: FloorNew) -> FloorRule:
    publisher = _publisher(request)
    place = _place(publisher, payload)
    slot, site = place["slot"], place["site"]
    site = slot.site if isinstance(slot, AdSlot) else site
    if not isinstance(site, Site):
        raise rights.RightsError("Name a site or a slot.")
    return rights.save_floor(
        user=None,
        site=site,
        slot=slot if isinstance(slot, AdSlot) else None,
        country=payload.country.upper(),
        device=payload.device or "",
        floor_micros=payload.floor_micros,
    )


@router.delete("/floors/{uuid:public_id}", response={204: None}, auth=WRITE)
@noted
def remove_floor(request: HttpRequest, public_id: UUID) -> Result[None]:
    return _removed(request, FloorRule, public_id)


# --- house ads --------------------------------------------------------------------------------------------------------


@router.get("/house-ads", response=list[HouseAdOut], auth=READ)
@paged
def list_house_ads(request: HttpRequest) -> QuerySet[HouseAd]:
    return rules_of(HouseAd, _publisher(request))


@router.post("/house-ads", response={201: HouseAdOut}, auth=WRITE)
@noted
def create_house_ad(request: HttpRequest, payload: HouseAdNew) -> Result[HouseAd]:
    publisher = _publisher(request)
    place: dict[str, Any] = _place(publisher, payload)
    fields = payload.dict(exclude_none=True, exclude={"site", "slot"})
    return Result(201, rights.save_house_ad(user=None, publisher=publisher, **place, **fields))


@router.patch("/house-ads/{uuid:public_id}", response=HouseAdOut, auth=WRITE)
@noted
def change_house_ad(request: HttpRequest, public_id: UUID, payload: HouseAdChange) -> HouseAd:
    publisher = _publisher(request)
    ad = get_object_or_404(rules_of(HouseAd, publisher), public_id=public_id)
    return rights.save_house_ad(
        user=None, publisher=publisher, ad=ad, site=ad.site, slot=ad.slot, **payload.dict(exclude_none=True)
    )


@router.delete("/house-ads/{uuid:public_id}", response={204: None}, auth=WRITE)
@noted
def remove_house_ad(request: HttpRequest, public_id: UUID) -> Result[None]:
    return _removed(request, HouseAd, public_id)


# --- competitors ------------------------------------------------------------------------------------------------------


@router.get("/competitors", response=list[PairOut], auth=READ)
@paged
def list_competitors(request: HttpRequest) -> QuerySet[CompetingPair]:
    return pairs_of(_publisher(request))


@router.post("/competitors", response={201: PairOut}, auth=WRITE)
@noted
def name_competitors(request: HttpRequest, payload: PairNew) -> Result[CompetingPair]:
    one, other = _advertiser(payload.first), _advertiser(payload.second)
    return Result(
        201, rights.name_competitors(user=None, publisher=_publisher(request), one=one, other=other)
    )


@router.delete("/competitors/{int:pk}", response={204: None}, auth=WRITE)
@noted
def forget_competitors(request: HttpRequest, pk: int) -> Result[None]:
    rights.forget_competitors(user=None, pair=get_object_or_404(pairs_of(_publisher(request)), pk=pk))
    return Result(204, None)


def _removed(request: HttpRequest, model: type[Any], public_id: UUID) -> Result[None]:
    """Taken away; what is not the key's own, or is gone already, does not exist."""
    rule = get_object_or_404(rules_of(model, _publisher(request)), public_id=public_id)
    rights.remove(user=None, rule=rule, at=clock.now())
    return Result(204, None)
