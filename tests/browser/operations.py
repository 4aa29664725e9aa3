"""A platform at work: what the operator's and the publisher's pages look like when they are full."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from adplatform.accounts.models import Membership
from adplatform.billing import services as billing
from adplatform.campaigns.models import Campaign, Creative
from adplatform.core import clock
from adplatform.events.models import FillStat, HourlyStat
from adplatform.inventory.models import AdSlot
from adplatform.jobs.services import seed_schedules
from tests import factories as f
from tests.browser.market import advertiser

REASONS = {
    "": 0.78,
    "outbid": 0.02,
    "below_floor": 0.09,
    "budget_spent": 0.05,
    "frequency_cap": 0.04,
    "no_candidates": 0.02,
}


def operations() -> Membership:
    """The owner of the publisher “Newsroom Media”, beside the advertiser of `market`, with jobs, models and a queue."""
    owner = f.user(email="nora@newsroom.example", name="Nora Berg")
    advertiser()
    publisher = f.publisher(name="Newsroom Media", time_zone="Europe/Berlin", is_synthetic=True)
    membership = f.member(publisher, user=owner)
    site = f.site(publisher, name="Newsroom", domain="newsroom.example", category="news")
    diary = f.site(publisher, name="Trail diary", domain="trails.example", category="sport")
    slots = [
        f.slot(site, name="Article top", width=728, height=90, floor_micros=1_200_000),
        f.slot(site, name="Sidebar", floor_micros=800_000),
        f.slot(diary, name="Between stories", format="native"),
    ]
    at = clock.now()
    _numbers(slots, at)
    _facts(slots[0], at)
    _queue(at)
    _jobs(at)
    _models(at)
    return membership


def _numbers(slots: list[AdSlot], at: datetime) -> None:
    chance = random.Random(8)
    creatives = list(Creative.objects.filter(review=Creative.Review.APPROVED)[:6])
    today = at.replace(minute=0, second=0, microsecond=0)
    stats, fills = [], []
    for age in range(0, 60 * 24, 6):
        hour = today - timedelta(hours=age)
        for slot in slots:
            creative = creatives[(age // 6 + slot.pk) % len(creatives)]
            requests = round(chance.uniform(200, 600) * (1 - age / 4_000))
            shown = round(requests * 0.78)
            parents = f._parents(creative, slot) | {"hour": hour, "currency": "USD", "source": "demo"}
            stats.append(
                HourlyStat(
                    **parents,
                    impressions=shown,
                    views=shown // 2,
                    clicks=shown // 70,
                    spend_micros=shown * chance.randint(1_900, 2_600),
                )
            )
            fills += [
                FillStat(
                    hour=hour,
                    slot_id=slot.pk,
                    publisher_id=slot.site.publisher_id,
                    reason=reason,
                    requests=round(requests * share),
                    source="demo",
                )
                for reason, share in REASONS.items()
            ]
    HourlyStat.objects.bulk_create(stats)
    FillStat.objects.bulk_create(fills)


def _facts(slot: AdSlot, at: datetime) -> None:
    creative = Creative.objects.filter(line_item__campaign__name="Cart reminder").first()
    served_at = (at - timedelta(days=1)).replace(minute=10)
    for serial in range(40):
        decision = f.decision(creative, slot, served_at=served_at)
        f.impression(
            decision,
            is_billable=serial % 8 != 0,
            reason="bot" if serial % 8 == 0 else "",
            charge_micros=0 if serial % 8 == 0 else 2_400,
        )
        if serial % 4 == 0:
            f.click(decision, is_billable=False, reason="too_fast" if serial % 8 else "bot")
    f.hourly_stat(
        creative,
        slot,
        hour=served_at.replace(minute=0),
        impressions=40,
        spend_micros=35 * 2_400,
        source="live",
    )
    billing.settle(at=at)


def _queue(at: datetime) -> None:
    campaign = Campaign.objects.get(name="Autumn running shoes")
    for name, headline in (
        ("Ridge 300×250", "Run the ridge before breakfast"),
        ("Rain 300×250", "Dry feet, 268 grams"),
    ):
        f.creative(
            campaign.line_items.order_by("pk")[0],
            name=name,
            headline=headline,
            body="New Cascade GTX. Free returns for 60 days.",
            call_to_action="Shop the shoe",
            review=Creative.Review.PENDING,
        )
    f.creative(
        campaign.line_items.order_by("pk")[0],
        name="Summit",
        headline="Best shoe ever, guaranteed",
        review=Creative.Review.REJECTED,
        review_note="“Best” needs a source.",
        reviewed_at=at,
        reviewed_by=f.user(name="Op One"),
    )


def _jobs(at: datetime) -> None:
    seed_schedules()
    chance = random.Random(4)
    for name, words, seconds in (
        ("rollup", "1,204 days rolled up.", 6.0),
        ("repace", "38 campaigns paced, 3 slowed down.", 1.8),
        ("settle", "$412.10 settled in 212 postings over 1 hours.", 2.4),
        ("train", "Not promoted: log loss is 0.4% above the champion's.", 190.0),
    ):
        for age in range(24):
            began = at - timedelta(minutes=5 * (age + 1))
            failed = name == "rollup" and age == 3
            f.job_run(
                f.job(name),
                slot=began,
                started_at=began,
                finished_at=began + timedelta(seconds=seconds * chance.uniform(0.7, 1.4)),
                status="failed" if failed else "succeeded",
                summary="OperationalError: server closed the connection" if failed else words,
                error="Traceback (most recent call last):\n  …\nOperationalError: server closed the connection"
                if failed
                else "",
                counts={"campaigns": 38, "changed": 3},
            )
    f.job_run(
        f.job("score"),
        started_at=at,
        finished_at=None,
        status="running",
        progress_done=420,
        progress_total=1_000,
    )


def _models(at: datetime) -> None:
    metrics = {
        "challenger": {
            "name": "blender-20261123-020311",
            "ne": 0.9118,
            "log_loss": 0.0991,
            "auc": 0.719,
            "calibration": 1.01,
        },
        "champion": {
            "name": "blender-20261122-020305",
            "ne": 0.9182,
            "log_loss": 0.0998,
            "auc": 0.712,
            "calibration": 0.98,
        },
        "prior": {"ne": 1.0, "log_loss": 0.1087, "auc": 0.5, "calibration": 1.0},
        "compared": {
            "no_transformer": {"ne": 0.9488, "log_loss": 0.1031, "auc": 0.681, "calibration": 1.01},
            "no_blender": {"ne": 0.9911, "log_loss": 0.1077, "auc": 0.642, "calibration": 1.07},
        },
    }
    run = f.training_run(
        started_at=at - timedelta(hours=5),
        finished_at=at - timedelta(hours=4, minutes=56),
        rows=412_233,
        metrics=metrics,
        verdict="Promoted: log loss 0.7% below the champion's, calibrated within 2%, no segment harmed.",
        is_promoted=True,
        data_from=at - timedelta(days=31),
        data_until=at - timedelta(days=1),
    )
    f.model_version(
        run=run,
        name="blender-20261123-020311",
        stage="champion",
        metrics={"log_loss": 0.0991, "auc": 0.719},
        promoted_at=at - timedelta(hours=4),
    )
    f.model_version(
        run=run,
        name="matcher-20261123-020148",
        kind="matcher",
        stage="champion",
        encoder="all-MiniLM-L6-v2",
        metrics={"auc": 0.642},
        promoted_at=at - timedelta(hours=4),
    )
    f.model_version(name="blender-20261122-020305", stage="retired", promoted_at=at - timedelta(hours=28))
