"""What the demo's publishers demand: blocks, floors, house ads, competitors, said once through the services of their pages."""

from __future__ import annotations

from django.db import transaction

from adplatform.accounts.models import Organisation, User
from adplatform.core.money import parse_micros
from adplatform.demo.catalogue import BlockPlan, FloorPlan, HouseAdPlan, PublisherPlan
from adplatform.inventory import rights
from adplatform.inventory.models import BlockRule, CompetingPair, FloorRule, HouseAd, Site

_SAID = (BlockRule, FloorRule, HouseAd, CompetingPair)


@transaction.atomic
def state(plan: PublisherPlan) -> None:
    """Nothing where the publisher has said anything before, itself or through us."""
    publisher = Organisation.objects.get(name=plan.name, is_synthetic=True)
    if any(model._default_manager.filter(publisher=publisher).exists() for model in _SAID):
        return
    owner = User.objects.get(email=plan.email)
    for block in plan.blocks:
        _block(publisher, block, owner)
    for floor in plan.floors:
        _floor(publisher, floor, owner)
    for ad in plan.house_ads:
        _house_ad(publisher, ad, owner)
    for one, other in plan.competitors:
        rights.name_competitors(
            user=owner, publisher=publisher, one=_advertiser(one), other=_advertiser(other)
        )


def _block(publisher: Organisation, plan: BlockPlan, owner: User) -> None:
    is_advertiser = plan.kind == BlockRule.Kind.ADVERTISER
    rule = rights.block(
        publisher=publisher,
        kind=plan.kind,
        value="" if is_advertiser else plan.value,
        advertiser=_advertiser(plan.value) if is_advertiser else None,
        site=_site(publisher, plan.site) if plan.site else None,
    )
    rights.save_block(user=owner, rule=rule, forecast={})


def _floor(publisher: Organisation, plan: FloorPlan, owner: User) -> None:
    site = _site(publisher, plan.site)
    micros = parse_micros(f"{plan.floor:.2f}", site.currency)
    rights.save_floor(user=owner, site=site, floor_micros=micros, country=plan.country, device=plan.device)


def _house_ad(publisher: Organisation, plan: HouseAdPlan, owner: User) -> None:
    rights.save_house_ad(
        user=owner, publisher=publisher, name=plan.name, format=plan.format, width=plan.width, height=plan.height,
        headline=plan.headline, body=plan.body, call_to_action=plan.button, landing_url=plan.url,
    )  # fmt: skip


def _advertiser(name: str) -> Organisation:
    return Organisation.objects.get(name=name, is_synthetic=True)


def _site(publisher: Organisation, name: str) -> Site:
    return Site.objects.get(publisher=publisher, name=name)
