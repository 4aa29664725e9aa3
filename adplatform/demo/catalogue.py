"""Reads the invented market (market.toml) into typed plans; `market()` is what the demo builds."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

MARKET = Path(__file__).with_name("market.toml")


class Offer(msgspec.Struct, frozen=True):
    """One ad: its topic (and a second one that it touches), headline, text, button."""

    topic: str
    headline: str
    body: str
    button: str
    second_topic: str = ""


class CampaignPlan(msgspec.Struct, frozen=True):
    """`bid`, `daily_budget` and `order_value` are whole units of the currency; `target_roas` is a factor."""

    name: str
    category: str
    strategy: str
    bid: float
    daily_budget: float
    conversion_rate: float
    order_value: float
    offers: tuple[Offer, ...]
    target_roas: float | None = None


class BuyerPlan(msgspec.Struct, frozen=True):
    """Whom invoices are addressed to."""

    legal_name: str
    address: str
    country: str
    vat_id: str = ""


class AdvertiserPlan(msgspec.Struct, frozen=True):
    name: str
    email: str
    campaigns: tuple[CampaignPlan, ...]
    buyer: BuyerPlan


class SlotPlan(msgspec.Struct, frozen=True):
    """`floor` is the least eCPM in whole units."""

    name: str
    format: str
    width: int
    height: int
    position: int
    floor: float


class SitePlan(msgspec.Struct, frozen=True):
    name: str
    domain: str
    category: str
    description: str
    topics: tuple[str, ...]
    time_zone: str
    slots: tuple[SlotPlan, ...]


class PayeePlan(msgspec.Struct, frozen=True):
    """Where payouts go. The numbers are those that banks print as examples."""

    holder: str
    iban: str
    bic: str = ""


class BlockPlan(msgspec.Struct, frozen=True):
    """`value` is an advertiser's name where `kind` is advertiser; without a site it holds on all."""

    kind: str
    value: str
    site: str = ""


class FloorPlan(msgspec.Struct, frozen=True):
    site: str
    floor: float
    country: str = ""
    device: str = ""


class HouseAdPlan(msgspec.Struct, frozen=True):
    name: str
    format: str
    width: int
    height: int
    headline: str
    body: str
    button: str
    url: str


class PublisherPlan(msgspec.Struct, frozen=True):
    """`competitors` are pairs of advertisers that never stand together."""

    name: str
    email: str
    share_bp: int
    sites: tuple[SitePlan, ...]
    payee: PayeePlan
    blocks: tuple[BlockPlan, ...] = ()
    floors: tuple[FloorPlan, ...] = ()
    house_ads: tuple[HouseAdPlan, ...] = ()
    competitors: tuple[tuple[str, str], ...] = ()


class MarketPlan(msgspec.Struct, frozen=True):
    """`pages` are the articles of each topic: what visitors read before and between ads."""

    pages: dict[str, tuple[str, ...]]
    advertisers: tuple[AdvertiserPlan, ...]
    publishers: tuple[PublisherPlan, ...]

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self.pages)

    @property
    def sites(self) -> tuple[SitePlan, ...]:
        return tuple(site for publisher in self.publishers for site in publisher.sites)

    @property
    def offers(self) -> tuple[Offer, ...]:
        return tuple(
            offer
            for advertiser in self.advertisers
            for campaign in advertiser.campaigns
            for offer in campaign.offers
        )


@cache
def market() -> MarketPlan:
    data: dict[str, Any] = tomllib.loads(MARKET.read_text(encoding="utf-8"))
    return msgspec.convert(data, MarketPlan)
