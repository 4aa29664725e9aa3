"""Doorways to sites and ad slots: others' do not exist for a person (404)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from django.db.models import Count, Prefetch, Q, QuerySet
from django.shortcuts import get_object_or_404

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.queries import memberships_of
from adplatform.core.tenants import platform
from adplatform.inventory.models import AdSlot, BlockRule, CompetingPair, FloorRule, HouseAd, Scoped, Site

Rule = TypeVar("Rule", bound=Scoped)


def site_for(user: User, public_id: str) -> Site:
    sites = Site.objects.select_related("publisher").filter(publisher__in=_organisations(user))
    return get_object_or_404(sites, public_id=public_id)


def slot_for(user: User, public_id: str) -> AdSlot:
    slots = AdSlot.objects.select_related("site__publisher").filter(site__publisher__in=_organisations(user))
    return get_object_or_404(slots, public_id=public_id)


def sites_of(publisher: Organisation) -> QuerySet[Site]:
    """The publisher's sites with their slots, by name."""
    slots = Prefetch("slots", AdSlot.objects.select_related("site").order_by("position", "name", "pk"))
    live = Count("slots", filter=Q(slots__is_active=True))
    return (
        Site.objects.filter(publisher=publisher)
        .prefetch_related(slots)
        .annotate(live_slots=live)
        .order_by("name", "pk")
    )


def slots_of(publisher: Organisation) -> QuerySet[AdSlot]:
    return (
        AdSlot.objects.filter(site__publisher=publisher)
        .select_related("site")
        .order_by("site__name", "position", "name", "pk")
    )


@platform()  # an advertiser's ads stand on others' sites, which it knows by name
def site_names(ids: Iterable[int]) -> dict[int, str]:
    """By id, in the order of the names."""
    return dict(Site.objects.filter(pk__in=list(ids)).order_by("name").values_list("pk", "name"))


@platform()
def slot_names(ids: Iterable[int]) -> dict[int, str]:
    return {slot.pk: str(slot) for slot in AdSlot.objects.filter(pk__in=list(ids)).select_related("site")}


def rules_of(model: type[Rule], publisher: Organisation) -> QuerySet[Rule]:
    """The publisher's rules of one kind that hold, with what they name."""
    found = model._default_manager.filter(publisher=publisher, removed_at__isnull=True)
    related = ["site", "slot__site", "created_by", *(["advertiser"] if model is BlockRule else [])]
    return found.select_related(*related)


def removed_rules_of(model: type[Rule], publisher: Organisation) -> QuerySet[Rule]:
    """Those that were taken away, the last one first."""
    found = model._default_manager.filter(publisher=publisher, removed_at__isnull=False)
    return found.select_related("site", "slot__site").order_by("-removed_at")


def block_for(user: User, public_id: UUID | str) -> BlockRule:
    return _rule_for(BlockRule, user, public_id)


def floor_for(user: User, public_id: UUID | str) -> FloorRule:
    return _rule_for(FloorRule, user, public_id)


def house_ad_for(user: User, public_id: UUID | str) -> HouseAd:
    return _rule_for(HouseAd, user, public_id)


def _rule_for(model: type[Rule], user: User, public_id: UUID | str) -> Rule:
    rules = model._default_manager.select_related("publisher", "site", "slot__site")
    return get_object_or_404(rules.filter(publisher__in=_organisations(user)), public_id=public_id)


def pairs_of(publisher: Organisation) -> QuerySet[CompetingPair]:
    return CompetingPair.objects.filter(publisher=publisher).select_related("first", "second")


def _organisations(user: User) -> QuerySet[Organisation]:
    return Organisation.objects.filter(pk__in=memberships_of(user).values("organisation"))
