"""Doorways to campaigns, line items and creatives: others' do not exist for a person (404)."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.shortcuts import get_object_or_404

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.queries import memberships_of
from adplatform.campaigns.models import Campaign, Creative, LineItem, Status


def campaign_for(user: User, public_id: UUID | str) -> Campaign:
    campaigns = Campaign.objects.select_related("organisation")
    return get_object_or_404(campaigns.filter(organisation__in=_organisations(user)), public_id=public_id)


def line_item_for(user: User, public_id: UUID | str) -> LineItem:
    line_items = LineItem.objects.select_related("campaign__organisation")
    return get_object_or_404(
        line_items.filter(campaign__organisation__in=_organisations(user)), public_id=public_id
    )


def creative_for(user: User, public_id: UUID | str) -> Creative:
    creatives = Creative.objects.select_related("line_item__campaign__organisation")
    return get_object_or_404(
        creatives.filter(line_item__campaign__organisation__in=_organisations(user)), public_id=public_id
    )


def campaigns_of(
    organisation: Organisation, *, search: str = "", archived: bool = False
) -> QuerySet[Campaign]:
    """The organisation's campaigns by name, without the archived ones unless they are asked for."""
    campaigns = Campaign.objects.select_related("organisation").filter(organisation=organisation)
    if search:
        campaigns = campaigns.filter(Q(name__icontains=search) | Q(category__icontains=search))
    if not archived:
        campaigns = campaigns.exclude(status=Status.ARCHIVED)
    return campaigns.order_by("name", "pk")


def line_items_of(campaign: Campaign) -> QuerySet[LineItem]:
    waiting = Q(creatives__review=Creative.Review.PENDING) & ~Q(creatives__status=Status.ARCHIVED)
    return (
        campaign.line_items.exclude(status=Status.ARCHIVED)
        .annotate(waiting=Count("creatives", filter=waiting))
        .order_by("name", "pk")
    )


def creatives_of(campaign: Campaign) -> QuerySet[Creative]:
    creatives = Creative.objects.filter(line_item__campaign=campaign).exclude(status=Status.ARCHIVED)
    return creatives.select_related("line_item").order_by("line_item__name", "name", "pk")


def creatives_of_organisation(organisation: Organisation, *, review: str = "") -> QuerySet[Creative]:
    """Creatives of campaigns that still matter; `review` narrows to one state."""
    creatives = Creative.objects.filter(line_item__campaign__organisation=organisation).exclude(
        Q(status=Status.ARCHIVED)
        | Q(line_item__status=Status.ARCHIVED)
        | Q(line_item__campaign__status=Status.ARCHIVED)
    )
    if review:
        creatives = creatives.filter(review=review)
    return creatives.select_related("line_item__campaign__organisation").order_by(
        "line_item__campaign__name", "name", "pk"
    )


def _organisations(user: User) -> QuerySet[Organisation]:
    return Organisation.objects.filter(pk__in=memberships_of(user).values("organisation"))
