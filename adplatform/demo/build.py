"""Builds the invented market's organisations, people, slots and campaigns through the same services as the pages.

Building again finds what is there: each organisation is made in one transaction and recognised by its name.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction

from adplatform.accounts.models import Membership, Organisation, User
from adplatform.accounts.services import found_organisation
from adplatform.campaigns import review
from adplatform.campaigns import services as campaigns
from adplatform.campaigns.models import Creative, LineItem, Status
from adplatform.core import money
from adplatform.demo import demands, paperwork
from adplatform.demo.catalogue import AdvertiserPlan, CampaignPlan, MarketPlan, Offer, PublisherPlan, SitePlan
from adplatform.events.models import ConversionAction
from adplatform.inventory.models import AdSlot, Site

CURRENCY = "EUR"
OPERATOR = "operator@example.com"
SECOND_OPERATOR = "operator2@example.com"  # money needs two
DEPOSIT_DAYS = 45  # how many days of all its daily budgets an advertiser pays in ahead
SIZES = (("banner", 970, 250), ("banner", 300, 250), ("native", 600, 200))
CAP_IMPRESSIONS = 6
ORDER = "order"


@dataclass(frozen=True, slots=True)
class Ad:
    """A creative and the plan that it came from."""

    creative_id: int
    advertiser_id: int
    offer: Offer
    campaign: CampaignPlan


@dataclass(frozen=True, slots=True)
class Place:
    """A slot with its site's plan."""

    slot: AdSlot
    site: SitePlan


@dataclass(frozen=True, slots=True)
class Market:
    """What the history runs on. `actions`: advertiser id → what it counts as a conversion."""

    ads: dict[int, Ad]
    sites: tuple[tuple[Place, ...], ...]
    actions: dict[int, ConversionAction]


def password() -> str:
    """The one password of all demo people, made once for this installation (the pages listen on this machine only)."""
    path = Path(settings.VAR) / "secrets" / "demo_password"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(f"demo-{secrets.token_hex(4)}")
        path.chmod(0o600)
    return path.read_text()


def build(plan: MarketPlan, *, starts_at: datetime) -> Market:
    """The market as it stood at `starts_at`, a month ago."""
    operator = person(OPERATOR, "Olga Operator", is_staff=True, is_superuser=True)
    for publisher in plan.publishers:
        _publisher(publisher)
    for advertiser in plan.advertisers:
        _advertiser(advertiser, operator=operator, starts_at=starts_at)
    for publisher in plan.publishers:
        demands.state(publisher)
    return load(plan)


def load(plan: MarketPlan) -> Market:
    """The market as it stands in the database."""
    offers = {
        (advertiser.name, campaign.name, offer.headline): (offer, campaign)
        for advertiser in plan.advertisers
        for campaign in advertiser.campaigns
        for offer in campaign.offers
    }
    rows = Creative.objects.filter(line_item__campaign__source="demo").values_list(
        "pk", "line_item__campaign__organisation_id", "line_item__campaign__organisation__name",
        "line_item__campaign__name", "headline",
    )  # fmt: skip
    ads = {
        pk: Ad(pk, advertiser_id, *offers[name, campaign, headline])
        for pk, advertiser_id, name, campaign, headline in rows
        if (name, campaign, headline) in offers
    }
    places = {
        (slot.site.domain, slot.name): slot
        for slot in AdSlot.objects.filter(site__publisher__is_synthetic=True).select_related("site")
    }
    sites = tuple(
        tuple(Place(places[site.domain, slot.name], site) for slot in site.slots)
        for publisher in plan.publishers
        for site in publisher.sites
    )
    actions = {action.organisation_id: action for action in ConversionAction.objects.filter(name=ORDER)}
    return Market(ads, sites, actions)


def person(email: str, name: str, **flags: bool) -> User:
    found = User.objects.filter(email=email).first()
    return found or User.objects.create_user(email, password(), name=name, **flags)


def _found(name: str, kind: str, email: str, time_zone: str) -> Membership:
    owner = person(email, f"{name} owner")
    membership = found_organisation(user=owner, name=name, kind=kind, currency=CURRENCY, time_zone=time_zone)
    membership.organisation.is_synthetic = True
    membership.organisation.save(update_fields=["is_synthetic"])
    return membership


@transaction.atomic
def _publisher(plan: PublisherPlan) -> None:
    if Organisation.objects.filter(name=plan.name, is_synthetic=True).exists():
        return
    publisher = _found(plan.name, Organisation.Kind.PUBLISHER, plan.email, "UTC").organisation
    publisher.revenue_share_bp = plan.share_bp
    publisher.save(update_fields=["revenue_share_bp"])
    paperwork.say_where_to_pay(publisher, plan.payee)
    for site in plan.sites:
        row = Site.objects.create(
            publisher=publisher, name=site.name, domain=site.domain, description=site.description,
            category=site.category, currency=CURRENCY, time_zone=site.time_zone,
        )  # fmt: skip
        for slot in site.slots:
            AdSlot.objects.create(
                site=row, name=slot.name, format=slot.format, width=slot.width, height=slot.height,
                position=slot.position, floor_micros=micros(slot.floor),
            )  # fmt: skip


@transaction.atomic
def _advertiser(plan: AdvertiserPlan, *, operator: User, starts_at: datetime) -> None:
    if Organisation.objects.filter(name=plan.name, is_synthetic=True).exists():
        return
    membership = _found(plan.name, Organisation.Kind.ADVERTISER, plan.email, "UTC")
    organisation = membership.organisation
    ConversionAction.objects.create(organisation=organisation, name=ORDER)
    per_day = sum(campaign.daily_budget for campaign in plan.campaigns)
    paperwork.address_invoices(organisation, plan.buyer)
    paperwork.transfer(organisation, micros(per_day * DEPOSIT_DAYS), at=starts_at)
    for campaign in plan.campaigns:
        _campaign(campaign, membership=membership, operator=operator, starts_at=starts_at)


def _campaign(plan: CampaignPlan, *, membership: Membership, operator: User, starts_at: datetime) -> None:
    campaign = campaigns.create_campaign(
        user=membership.user, organisation=membership.organisation, at=starts_at, name=plan.name,
        bid_strategy=plan.strategy, daily_budget_micros=micros(plan.daily_budget), start_at=starts_at,
        end_at=starts_at + timedelta(days=120), category=plan.category, source="demo",
        target_roas_bp=round(plan.target_roas * 10_000) if plan.target_roas else None,
    )  # fmt: skip
    line_item = campaigns.save_line_item(
        user=membership.user, campaign=campaign, name=f"{plan.name} · everyone",
        bid_micros=micros(plan.bid), cap_impressions=CAP_IMPRESSIONS,
    )  # fmt: skip
    for offer in plan.offers:
        for size in SIZES:
            _creative(offer, size, line_item=line_item, user=membership.user, operator=operator, at=starts_at)
    campaigns.set_campaign_status(user=membership.user, campaign=campaign, status=Status.ACTIVE, at=starts_at)


def _creative(
    offer: Offer, size: tuple[str, int, int], *, line_item: LineItem, user: User, operator: User, at: datetime
) -> None:
    format_, width, height = size
    creative = campaigns.save_creative(
        user=user, line_item=line_item, name=f"{offer.headline[:60]} · {width}×{height}", format=format_,
        width=width, height=height, headline=offer.headline, body=offer.body, call_to_action=offer.button,
        landing_url=f"https://shop.example/{line_item.campaign.public_id}",
    )  # fmt: skip
    review.approve(user=operator, creative=creative, at=at)


def micros(amount: float) -> int:
    """Whole units of the demo's currency as micros."""
    return money.parse_micros(f"{amount:.2f}", CURRENCY)
