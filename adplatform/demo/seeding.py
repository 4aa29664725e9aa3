"""A synthetic market of any size through the real services, for benchmarks and load tests. Nothing in it is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from django.db import transaction

from adplatform.accounts.models import Membership, Organisation, User
from adplatform.accounts.services import found_organisation
from adplatform.audience.services import Seen, record_consent, record_visitors
from adplatform.billing import services as billing
from adplatform.campaigns import review
from adplatform.campaigns import services as campaigns
from adplatform.campaigns.models import Status
from adplatform.core.pseudonym import pseudonym
from adplatform.demo.catalogue import MarketPlan, Offer
from adplatform.inventory.services import save_site, save_slot

CURRENCY = "EUR"
LINE_ITEMS_PER_CAMPAIGN = 5
CAMPAIGNS_PER_ADVERTISER = 10
SLOTS_PER_SITE = 5
SIZES = (("banner", 970, 250), ("banner", 300, 250), ("native", 600, 200))
COUNTRIES = ("DE", "FR", "GB", "US", "ES")
DEVICES = ("desktop", "mobile", "tablet")
MICROS = 1_000_000
SOURCE = "demo"

Say = Callable[[str, int, int], object]


@dataclass(frozen=True, slots=True)
class Size:
    line_items: int
    slots: int
    visitors: int


def seed_market(plan: MarketPlan, size: Size, *, seed: int, at: datetime, say: Say) -> None:
    """Add a market of this size; the same seed makes the same one. `say(what, done, total)` tells the progress."""
    rng = Random(seed)
    operator = User.objects.create_user(f"operator-{seed}@seed.example", None, is_staff=True)
    for done in _slots(plan, size.slots, operator, rng, seed):
        say("slots", done, size.slots)
    for done in _line_items(plan, size.line_items, operator, rng, at=at, seed=seed):
        say("line items", done, size.line_items)
    names = [pseudonym(f"seed-{seed}-{number}") for number in range(size.visitors)]
    record_visitors((Seen(name, at, at) for name in names), source=SOURCE)
    record_consent(names, is_granted=True, source="seed", at=at)
    say("visitors", size.visitors, size.visitors)


def _found(name: str, kind: str, user: User) -> Membership:
    membership = found_organisation(user=user, name=name, kind=kind, currency=CURRENCY, time_zone="UTC")
    membership.organisation.is_synthetic = True
    membership.organisation.save(update_fields=["is_synthetic"])
    return membership


def _slots(plan: MarketPlan, total: int, user: User, rng: Random, seed: int) -> Iterator[int]:
    publisher = _found(f"Seeded publisher {seed}", Organisation.Kind.PUBLISHER, user).organisation
    for first in range(0, total, SLOTS_PER_SITE):
        model = rng.choice(plan.sites)
        with transaction.atomic():
            site = save_site(
                user=user, publisher=publisher, name=f"Site {first}", domain=f"site-{seed}-{first}.example",
                description=model.description, category=model.category,
            )  # fmt: skip
            for number in range(first, min(first + SLOTS_PER_SITE, total)):
                kind, width, height = rng.choice(SIZES)
                save_slot(
                    user=user, site=site, name=f"Slot {number}", format=kind, width=width, height=height,
                    position=1 + number % 3, floor_micros=rng.randint(0, 2 * MICROS),
                )  # fmt: skip
        yield min(first + SLOTS_PER_SITE, total)


def _line_items(
    plan: MarketPlan, total: int, user: User, rng: Random, *, at: datetime, seed: int
) -> Iterator[int]:
    membership = None
    for number, first in enumerate(range(0, total, LINE_ITEMS_PER_CAMPAIGN)):
        if membership is None or number % CAMPAIGNS_PER_ADVERTISER == 0:
            name = f"Seeded advertiser {seed}-{number}"
            membership = _found(name, Organisation.Kind.ADVERTISER, user)
            billing.deposit(membership.organisation, 100_000 * MICROS, key=f"seed:{name}", at=at)
        count = min(LINE_ITEMS_PER_CAMPAIGN, total - first)
        _campaign(plan, membership, count=count, first=first, rng=rng, at=at)
        yield first + count


@transaction.atomic
def _campaign(
    plan: MarketPlan, membership: Membership, *, count: int, first: int, rng: Random, at: datetime
) -> None:
    user, strategy = membership.user, rng.choice(("manual_cpc", "manual_cpm", "maximise_clicks"))
    campaign = campaigns.create_campaign(
        user=user, organisation=membership.organisation, at=at, name=f"Campaign {first}", source=SOURCE,
        bid_strategy=strategy, daily_budget_micros=rng.randint(20, 500) * MICROS,
        start_at=at - timedelta(days=1), category=rng.choice(plan.sites).category,
    )  # fmt: skip
    for number in range(first, first + count):
        line_item = campaigns.save_line_item(
            user=user, campaign=campaign, name=f"Line item {number}", bid_micros=rng.randint(1, 8) * MICROS,
            targeting=_targeting(rng), cap_impressions=rng.choice((None, 3, 10)),
        )  # fmt: skip
        offer: Offer = rng.choice(plan.offers)
        kind, width, height = rng.choice(SIZES)
        creative = campaigns.save_creative(
            user=user, line_item=line_item, name=f"Creative {number}", format=kind, width=width, height=height,
            headline=offer.headline, body=offer.body, call_to_action=offer.button,
            landing_url=f"https://shop.example/{number}",
        )  # fmt: skip
        review.approve(user=user, creative=creative, at=at)
    campaigns.set_campaign_status(user=user, campaign=campaign, status=Status.ACTIVE, at=at)


def _targeting(rng: Random) -> dict[str, object]:
    """Rules that let roughly a third of the requests through."""
    rules: dict[str, object] = {}
    if rng.random() < 0.6:
        rules["country"] = {"include": rng.sample(COUNTRIES, 3)}
    if rng.random() < 0.4:
        rules["device"] = {"include": rng.sample(DEVICES, 2)}
    return rules
