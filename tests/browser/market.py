"""An advertiser that has been at it for two months: what pages look like when they are full."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta

from adplatform.accounts.models import Membership
from adplatform.billing import services as billing
from adplatform.campaigns.models import BidStrategy, Campaign, Creative, Status
from adplatform.campaigns.services import ensure_budgets
from adplatform.core import clock
from adplatform.events.models import HourlyStat
from adplatform.inventory.models import AdFormat, AdSlot
from tests import factories as f

M = f.MICROS
# name, status, spend a day, CTR, conversion rate, value of a conversion, goal
CAMPAIGNS = [
    ("Autumn running shoes", Status.ACTIVE, 240, 0.021, 0.045, 62, BidStrategy.MANUAL_CPC),
    ("Trail jackets · lookalike", Status.ACTIVE, 190, 0.017, 0.04, 58, BidStrategy.TARGET_CPA),
    ("Brand · news sites", Status.ACTIVE, 70, 0.009, 0.02, 49, BidStrategy.MANUAL_CPM),
    ("Cart reminder", Status.ACTIVE, 110, 0.039, 0.1, 44, BidStrategy.TARGET_ROAS),
    ("Video · pre-roll test", Status.PAUSED, 20, 0.006, 0.01, 40, BidStrategy.MAXIMISE_CLICKS),
]
HEADLINES = ["Grip that keeps up with you", "Waterproof at 268 grams", "Sixty days to change your mind"]


def advertiser() -> Membership:
    """The owner of “Cascade Outdoor”, with campaigns, numbers, money, keys and a history."""
    owner = f.user(email="mei.lin@cascade.example", name="Mei Lin")
    company = f.organisation(name="Cascade Outdoor", time_zone="Europe/Berlin", is_synthetic=True)
    membership = f.member(company, user=owner)
    f.member(company, user=f.user(email="ana@cascade.example", name="Ana Souza"), role="analyst")
    at = clock.now()
    billing.deposit(company, 50_000 * M, key="transfer-1", at=at - timedelta(days=20), memo="Bank transfer 1")
    slots = _slots()
    for serial, row in enumerate(CAMPAIGNS):
        _campaign(membership, slots, row, serial, at)
    _special(membership, at)
    f.api_key(company, name="Nightly report", scopes=["read"])
    _history(membership)
    return membership


def _slots() -> list[AdSlot]:
    newsroom = f.site(name="Newsroom", domain="newsroom.example")
    trails = f.site(name="Trail diary", domain="trails.example")
    return [f.slot(newsroom, name="Article"), f.slot(newsroom, name="Sidebar"), f.slot(trails, name="Top")]


def _campaign(membership: Membership, slots: list[AdSlot], row: tuple, serial: int, at: datetime) -> None:
    name, status, spend, ctr, cvr, value, goal = row
    campaign = f.campaign(
        membership.organisation,
        name=name,
        status=status,
        bid_strategy=goal,
        daily_budget_micros=int(spend * 1.15) * M,
        flight_budget_micros=spend * 120 * M,
        start_at=at - timedelta(days=70),
        end_at=at + timedelta(days=30),
        category="sport",
        source="demo",
    )
    everyone = f.line_item(campaign, name="Everyone", bid_micros=620_000)
    runners = f.line_item(
        campaign,
        name="Runners in Germany",
        bid_micros=845_500,
        targeting={"country": {"include": ["DE", "AT"]}, "keyword": {"include": ["running", "trail"]}},
        cap_impressions=5,
    )
    creatives = [
        f.creative(
            everyone,
            name=HEADLINES[0],
            headline=HEADLINES[0],
            body="New Cascade GTX, free returns for 60 days.",
        ),
        f.creative(everyone, name=HEADLINES[1], headline=HEADLINES[1], format=AdFormat.NATIVE),
        f.creative(runners, name=HEADLINES[2], headline=HEADLINES[2], width=728, height=90),
    ]
    _statistics(creatives, slots, (spend, ctr, cvr, value), serial, at)
    ensure_budgets(campaign, at.date())
    campaign.budgets.filter(date=at.date()).update(spent_micros=int(spend * (0.55 + serial * 0.12)) * M)


def _statistics(
    creatives: list[Creative], slots: list[AdSlot], rates: tuple, serial: int, at: datetime
) -> None:
    spend, ctr, cvr, value = rates
    chance = random.Random(serial)
    today = at.replace(hour=0, minute=0, second=0, microsecond=0)
    rows = []
    for age in range(62):
        season = (1 - age / 200) * (1 + 0.18 * math.sin(age / 7 * 2 * math.pi)) * chance.uniform(0.9, 1.1)
        for place, creative in enumerate(creatives):
            day_spend = spend * season * (0.5, 0.3, 0.2)[place]
            clicks = max(1, round(day_spend / 0.58))
            conversions = round(clicks * cvr * chance.uniform(0.8, 1.2) * (1 - age / 300))
            parents = f._parents(creative, slots[(age + place) % 3])
            rows.append(
                HourlyStat(
                    **parents,
                    hour=today - timedelta(days=age) + timedelta(hours=0 if age == 0 else 9 + place),
                    currency="USD",
                    source="demo",
                    impressions=round(clicks / ctr),
                    billable_impressions=round(clicks / ctr),
                    views=round(clicks / ctr * 0.61),
                    clicks=clicks,
                    billable_clicks=clicks,
                    conversions=conversions,
                    spend_micros=round(day_spend * M),
                    revenue_micros=conversions * value * M,
                )
            )
    HourlyStat.objects.bulk_create(rows)


def _special(membership: Membership, at: datetime) -> None:
    """One whose creative was rejected, one that ran out of budget, one draft."""
    days = {"start_at": at - timedelta(days=9), "end_at": at + timedelta(days=20), "source": "demo"}
    teaser = f.campaign(membership.organisation, name="Spring collection teaser", **days)
    f.creative(
        f.line_item(teaser, name="Everyone"),
        name="Spring is early",
        headline="Spring is early this year",
        review=Creative.Review.REJECTED,
        review_note="The landing page answers 404. Fix the address and save the creative again.",
    )
    spent = f.campaign(membership.organisation, name="Weekend sale", daily_budget_micros=80 * M, **days)
    f.creative(f.line_item(spent))
    ensure_budgets(spent, at.date())
    spent.budgets.filter(date=at.date()).update(spent_micros=80 * M)
    f.campaign(membership.organisation, name="Winter boots", status=Status.DRAFT, **days)


def _history(membership: Membership) -> None:
    campaign = Campaign.objects.get(name="Autumn running shoes")
    about = {"user": membership.user, "target": str(campaign)}
    f.audit_entry(membership.organisation, action="campaign.launched", **about)
    f.audit_entry(
        membership.organisation,
        action="campaign.changed",
        detail={"daily_budget_micros": [200 * M, 276 * M], "name": ["Running shoes", "Autumn running shoes"]},
        **about,
    )
    f.audit_entry(
        membership.organisation,
        action="line_item.changed",
        user=membership.user,
        target="Runners in Germany",
        detail={"bid_micros": [800_000, 845_500], "campaign": [campaign.name]},
    )
