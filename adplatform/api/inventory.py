"""Sites and ad slots of a publisher's key."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router
from ninja.responses import Status as Result

from adplatform.accounts.models import Organisation
from adplatform.api.audit import noted
from adplatform.api.auth import Key, organisation_of
from adplatform.api.paging import paged
from adplatform.api.problems import ProblemError
from adplatform.api.schemas.inventory import SiteChange, SiteOut, SlotChange, SlotNew, SlotOut
from adplatform.inventory import services
from adplatform.inventory.models import AdSlot, Site
from adplatform.inventory.queries import slots_of

router = Router(tags=["inventory"])
READ, WRITE = Key("read"), Key("write")
PUBLISHER = Organisation.Kind.PUBLISHER


def slot_of(request: HttpRequest, public_id: str) -> AdSlot:
    return get_object_or_404(slots_of(organisation_of(request, PUBLISHER)), public_id=public_id)


@router.get("/sites", response=list[SiteOut], auth=READ)
@paged
def list_sites(request: HttpRequest) -> QuerySet[Site]:
    return Site.objects.filter(publisher=organisation_of(request, PUBLISHER)).order_by("pk")


@router.patch("/sites/{slug:public_id}", response=SiteOut, auth=WRITE)
@noted
def change_site(request: HttpRequest, public_id: str, payload: SiteChange) -> Site:
    """How many ads of one advertiser, which stand together, how much variety."""
    publisher = organisation_of(request, PUBLISHER)
    site = get_object_or_404(Site, public_id=public_id, publisher=publisher)
    return services.save_site(user=None, publisher=publisher, site=site, **payload.dict(exclude_none=True))


@router.get("/slots", response=list[SlotOut], auth=READ)
@paged
def list_slots(request: HttpRequest, site: str = "") -> QuerySet[AdSlot]:
    rows = slots_of(organisation_of(request, PUBLISHER))
    return rows.filter(site__public_id=site) if site else rows


@router.post("/sites/{slug:public_id}/slots", response={201: SlotOut}, auth=WRITE)
@noted
def create_slot(request: HttpRequest, public_id: str, payload: SlotNew) -> Result[AdSlot]:
    site = get_object_or_404(Site, public_id=public_id, publisher=organisation_of(request, PUBLISHER))
    _check_name(site, payload.name, None)
    return Result(201, services.save_slot(user=None, site=site, **payload.dict(exclude_none=True)))


@router.get("/slots/{slug:public_id}", response=SlotOut, auth=READ)
def get_slot(request: HttpRequest, public_id: str) -> AdSlot:
    return slot_of(request, public_id)


@router.patch("/slots/{slug:public_id}", response=SlotOut, auth=WRITE)
@noted
def change_slot(request: HttpRequest, public_id: str, payload: SlotChange) -> AdSlot:
    slot = slot_of(request, public_id)
    _check_name(slot.site, payload.name, slot)
    return services.save_slot(user=None, site=slot.site, slot=slot, **payload.dict(exclude_none=True))


def _check_name(site: Site, name: str | None, slot: AdSlot | None) -> None:
    others = site.slots.filter(name=name)
    if name is not None and (others.exclude(pk=slot.pk) if slot else others).exists():
        raise ProblemError(
            409, "name_taken", "This site already has a slot of this name.", {"name": "It is taken."}
        )
