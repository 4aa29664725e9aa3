"""Two advertisers and two publishers that share nothing, with rows in every table whose rows belong to tenants."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from adplatform.accounts.models import Membership, Organisation
from adplatform.billing import invoices, payments, payouts, services
from adplatform.billing.models import BillingProfile, CreditLimit, LowBalance, Payee, Proposal
from adplatform.campaigns.models import AdvertiserCap, Purse
from adplatform.events.models import (
    Adjustment,
    Credit,
    DeliveryHour,
    Feedback,
    Invalidation,
    RefusedStat,
)
from adplatform.inventory.models import BlockRule, CompetingPair, FloorRule, HouseAd
from adplatform.learning.models import (
    CategorySuggestion,
    CreativeRating,
    Influence,
    RatingModel,
    SimilarAds,
)
from tests import factories as f
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON

LATER = datetime(2026, 8, 4, tzinfo=NOON.tzinfo)


@dataclass(frozen=True)
class World:
    """One market of its own: an advertiser whose ads stand on one publisher's site, and their owners."""

    market: Market
    advertiser: Membership
    publisher: Membership

    @property
    def tenants(self) -> tuple[Organisation, Organisation]:
        return self.advertiser.organisation, self.publisher.organisation


def make(currency: str) -> World:
    """`currency` keeps the worlds' payouts in batches of their own."""
    market = Market(currency=currency)
    world = World(market, f.member(market.advertiser), f.member(market.publisher))
    _of_accounts_and_inventory(world)
    _of_campaigns(market)
    _facts(market)
    _of_learning(market)
    return world


def settle_both(*worlds: World) -> None:
    """Months and payouts are of everybody at once."""
    for world in worlds:
        world.market.charge(80 * MICROS)
        Payee.objects.create(organisation=world.market.publisher, holder="Paper", iban="AT611904300234573201")
    services.settle(at=NOON + timedelta(hours=1))
    invoices.issue_month(date(2026, 6, 1), at=LATER)
    payouts.prepare(at=LATER)
    for world in worlds:
        _of_billing(world)


def _of_accounts_and_inventory(world: World) -> None:
    market, owner = world.market, world.publisher.user
    f.api_key(market.advertiser)
    f.api_key(market.publisher)
    f.audit_entry(market.advertiser, user=world.advertiser.user)
    site, slot = market.slot.site, market.slot
    publisher = {"publisher": market.publisher, "created_by": owner}
    BlockRule.objects.create(**publisher, kind="category", value="poker")
    FloorRule.objects.create(**publisher, site=site, slot=slot, country="DE", floor_micros=MICROS)
    HouseAd.objects.create(
        **publisher, name="Own", headline="Own", landing_url="https://own.example", width=300, height=250
    )
    first, second = sorted([f.organisation(), f.organisation()], key=lambda one: one.pk)
    CompetingPair.objects.create(publisher=market.publisher, first=first, second=second)


def _of_campaigns(market: Market) -> None:
    campaign = market.creative.line_item.campaign
    f.segment(market.advertiser).visitors.add(f.visitor())
    AdvertiserCap.objects.create(organisation=market.advertiser)
    Purse.objects.get_or_create(organisation=market.advertiser)
    f.budget(campaign)
    f.pace(campaign)


def _facts(market: Market) -> None:
    decision = f.decision(market.creative, market.slot)
    f.impression(decision)
    f.view(decision)
    f.click(decision)
    names = ("decision_id", "served_at", "slot_id", "publisher_id", "advertiser_id")
    names += ("campaign_id", "line_item_id", "creative_id")
    ids = {name: getattr(decision, name) for name in names}
    found = {"reason": "robot", "rules": 1, "found_at": NOON, "currency": "USD", "charge_micros": 0}
    Invalidation.objects.create(**ids, kind="view", **found)
    Feedback.objects.create(**ids, kind="not_interested", turn=0, is_given=True, occurred_at=NOON)
    f.daily_stat(market.creative, market.slot)
    f.fill_stat(market.slot)
    place = {"hour": NOON, "slot_id": market.slot.pk, "publisher_id": market.publisher.pk}
    RefusedStat.objects.create(**place, kind="click", reason="duplicate")
    DeliveryHour.objects.create(
        hour=NOON,
        **{name: ids[name] for name in ("advertiser_id", "campaign_id", "line_item_id")},
        outcomes={},
    )
    action = f.conversion_action(market.advertiser)
    conversion = f.conversion(action)
    times = {"occurred_at": NOON, "received_at": NOON}
    Adjustment.objects.create(action=action, event_id="order", adjustment_id="1", kind="retract", **times)
    del ids["served_at"]
    shared = {"model": "last_click", "touch": "click", "currency": "USD", "source": "live", "hour": NOON}
    Credit.objects.create(conversion=conversion, **ids, **shared, share_ppm=1_000_000, value_micros=0)


def _of_learning(market: Market) -> None:
    creative = market.creative
    SimilarAds.objects.create(creative_id=creative.pk, encoder="e", computed_at=NOON)
    Influence.objects.create(line_item_id=creative.line_item_id, computed_at=NOON, decisions=1, blender="b")
    rated = RatingModel.objects.create(trained_at=NOON, labels=1, encoder="e", weights=[])
    CreativeRating.objects.create(creative_id=creative.pk, model=rated, bad=0.1)
    told = {"category": "books", "cosine": 0.5, "computed_at": NOON}
    CategorySuggestion.objects.create(kind="campaign", object_id=creative.line_item.campaign_id, **told)
    CategorySuggestion.objects.create(kind="site", object_id=market.slot.site_id, **told)


def _of_billing(world: World) -> None:
    advertiser = world.market.advertiser
    operator, other = f.operator(), f.operator()
    payment = payments.ask(advertiser, 50 * MICROS, gateway="bank", key=uuid.uuid4())
    payments.arrive(payment, 50 * MICROS, external_id=f"b{payment.pk}", at=LATER)
    payments.refund(payment, MICROS, reason="asked for", by=operator, at=LATER, key=uuid.uuid4())
    money: dict[str, Any] = {"organisation": advertiser, "micros": MICROS}
    Proposal.objects.create(
        key=uuid.uuid4(),
        kind="deposit",
        currency=advertiser.currency,
        words="w",
        proposed_by=operator,
        proposed_at=NOON,
        **money,
    )
    CreditLimit.objects.create(proposed_by=operator, approved_by=other, approved_at=NOON, **money)
    LowBalance.objects.create(organisation=advertiser, since=NOON, available_micros=1, daily_micros=1)
    BillingProfile.objects.create(organisation=advertiser, legal_name="L", address="A", country="DE")
