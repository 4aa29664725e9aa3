"""Doorways to sites and ad slots: others' do not exist for a person (404)."""

from __future__ import annotations

from django.db.models import Count, Prefetch, Q, QuerySet
from django.shortcuts import get_object_or_404

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.queries import memberships_of
from adplatform.inventory.models import AdSlot, Site


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


def _organisations(user: User) -> QuerySet[Organisation]:
    return Organisation.objects.filter(pk__in=memberships_of(user).values("organisation"))
