"""Campaigns taken over from a data set: in bulk, archived from the start, never served, never billed.

Everything is found again by name and external key, so that a second import adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from adplatform.accounts.models import Organisation
from adplatform.accounts.services import audit
from adplatform.campaigns.models import BidStrategy, Campaign, Creative, LineItem, Status

BATCH = 2_000
UNUSED_BID_MICROS = 1  # a line item has a bid; this one is never used


@dataclass(frozen=True, slots=True)
class Ad:
    """`key` names it within its campaign."""

    key: str
    headline: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """A campaign of the data set; `name` is unique within it."""

    name: str
    start_at: datetime
    end_at: datetime
    ads: Sequence[Ad]


def organisation(*, name: str, currency: str) -> Organisation:
    """The data set's own advertiser; it never serves."""
    found, is_new = Organisation.objects.get_or_create(
        name=name,
        kind=Organisation.Kind.ADVERTISER,
        defaults={"currency": currency, "is_active": False},
    )
    if is_new:
        audit(user=None, organisation=found, action="organisation.imported", target=name)
    return found


@transaction.atomic
def take_over(
    owner: Organisation, flights: Sequence[Flight], *, source: str, landing_url: str
) -> dict[str, int]:
    """Add the campaigns and ads that are not there yet; returns how many of each that were."""
    campaigns = _campaigns(owner, flights, source)
    line_items = _line_items(owner, source)
    known = set(
        Creative.objects.filter(line_item__in=line_items.values()).values_list("line_item_id", "external_key")
    )
    creatives = [
        _creative(line_items[flight.name], ad, landing_url)
        for flight in flights
        for ad in flight.ads
        if (line_items[flight.name].pk, ad.key) not in known
    ]
    Creative.objects.bulk_create(creatives, batch_size=BATCH)
    added = {"campaigns": campaigns, "creatives": len(creatives)}
    if any(added.values()):
        audit(user=None, organisation=owner, action="campaigns.imported", target=source, detail=added)
    return added


def creative_ids(owner: Organisation, *, source: str) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(creative, line item, campaign) ids by campaign name and ad key."""
    rows = Creative.objects.filter(
        line_item__campaign__organisation=owner, line_item__campaign__source=source
    ).values_list("line_item__campaign__name", "external_key", "pk", "line_item_id", "line_item__campaign_id")
    return {(name, key): (creative, line_item, campaign) for name, key, creative, line_item, campaign in rows}


def _campaigns(owner: Organisation, flights: Sequence[Flight], source: str) -> int:
    known = set(Campaign.objects.filter(organisation=owner, source=source).values_list("name", flat=True))
    new = [
        Campaign(
            organisation=owner,
            name=flight.name,
            status=Status.ARCHIVED,
            bid_strategy=BidStrategy.MANUAL_CPM,
            currency=owner.currency,
            start_at=flight.start_at,
            end_at=flight.end_at,
            source=source,
        )
        for flight in flights
        if flight.name not in known
    ]
    Campaign.objects.bulk_create(new, batch_size=BATCH)
    return len(new)


def _line_items(owner: Organisation, source: str) -> dict[str, LineItem]:
    """The one line item of each campaign, by the campaign's name."""
    campaigns = Campaign.objects.filter(organisation=owner, source=source)
    without = campaigns.filter(line_items__isnull=True)
    LineItem.objects.bulk_create(
        [
            LineItem(campaign=one, name=one.name, status=Status.ARCHIVED, bid_micros=UNUSED_BID_MICROS)
            for one in without
        ],
        batch_size=BATCH,
    )
    rows = LineItem.objects.filter(campaign__in=campaigns).select_related("campaign")
    return {one.campaign.name: one for one in rows}


def _creative(line_item: LineItem, ad: Ad, landing_url: str) -> Creative:
    return Creative(
        line_item=line_item,
        name=ad.headline[:200],
        headline=ad.headline[:400],
        body=ad.body,
        landing_url=landing_url,
        status=Status.ARCHIVED,
        review=Creative.Review.APPROVED,
        review_note="Taken over from a data set; it never serves.",
        external_key=ad.key,
    )
