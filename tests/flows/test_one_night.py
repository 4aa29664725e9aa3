"""One night, told job by job: vectors, sums, books, paces, training through the gate, a new snapshot, picks for everybody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from adplatform.billing import services as billing
from adplatform.celery import DEFAULT_SCHEDULES
from adplatform.events.models import DailyStat, HourlyStat
from adplatform.jobs.models import JobRun
from adplatform.jobs.services import run
from adplatform.learning import registry
from adplatform.learning.models import ModelVersion, Pick
from tests import factories
from tests.factories import MICROS, NOON
from tests.learning.world import World, market, show

DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0)
# The order in which a night goes, and what each job says when it has done its work.
NIGHT = (
    ("embed_creatives", "Encoded 8 new texts of 8."),
    ("embed_visitors", "Rebuilt 60 of 60 profiles."),
    ("rollup", "Rebuilt 1 days, 2026-06-14 to 2026-06-14."),
    ("filter_traffic", "Nothing invalid was found."),
    ("settle", "$12.00 settled in 1 postings over 1 hours."),
    ("watch_balances", "0 run short, 0 have enough again."),
    ("write_anchors", "Nothing to anchor."),
    ("add_delivery", "Added 0 reports."),
    ("fold_delivery", "Wrote 0 days, forgot 0 old rows."),
    ("credit_conversions", "0 credits changed over 0 advertisers."),
    ("repace", "3 campaigns: 0 slowed, 0 sped up."),
    ("examine_data", "5,001 impressions: nothing to remark."),
    ("rate_creatives", "0 ads are labelled good or bad; 50"),
    ("train", "Promoted: normalised entropy 0."),
    ("learn_beliefs", "Not learned: 0 clicks of decided ads (200 are needed)."),
    ("refresh_engines", "Not used: fewer than 50 visitors clicked"),
    ("snapshot", "Published 6 ads for 4 slots as "),
    ("score", "360 pairs"),
    ("retention", "Nothing is older than it may be."),
    ("explain_ads", "Told of 0 of 3 line items."),
    ("find_similar", "Compared 6 of 6 ads; 0 benchmarks, 0 suggestions"),
    ("score_shadow", "No shadow."),
    ("watch_canary", "No canary."),
    ("issue_invoices", "Nothing to invoice."),
    ("prepare_payouts", "Nothing to pay out."),
    ("sweep", "Nothing to do."),
)


@pytest.fixture
def world(settings: Any, tmp_path: Path, hot: redis.Redis, transactional_db: None) -> Iterator[World]:
    """Five days of a small market whose visitors click on their topic; one click of yesterday cost 12.00."""
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"
    # Sixty readers click here as often as thousands would.
    settings.TRAFFIC_THRESHOLDS = dict.fromkeys(
        ("clicks_per_creative", "clicks_per_hour", "rate_clicks"), 1e6
    )
    world = market(visitors=60)
    show(world, impressions=5_000, since=MIDNIGHT - 5 * DAY, until=MIDNIGHT)
    for creative in world.creatives[::2]:
        owner = creative.line_item.campaign.organisation
        billing.deposit(owner, 1_000 * MICROS, key=f"bank:{owner.pk}", at=MIDNIGHT - 6 * DAY)
    yesterday = MIDNIGHT - timedelta(hours=3)
    decision = factories.decision(world.creatives[0], world.slots[0], served_at=yesterday, source="demo")
    factories.impression(decision, occurred_at=yesterday)
    factories.click(decision, occurred_at=yesterday + timedelta(seconds=20), charge_micros=12 * MICROS)
    factories.hourly_stat(
        world.creatives[0],
        world.slots[0],
        hour=yesterday,
        source="demo",
        billable_clicks=1,
        clicks=1,
        spend_micros=12 * MICROS,
    )
    yield world
    for version in ModelVersion.objects.all():  # the worker reads them where the platform keeps them
        shutil.rmtree(registry.folder_of(version))


def test_one_night(world: World, hot: redis.Redis, live_worker: object) -> None:
    assert {name for name, _ in NIGHT} == DEFAULT_SCHEDULES.keys() - {"tune"}  # which runs on Sundays only

    for name, words in NIGHT:
        done = run(name, slot=MIDNIGHT, at=MIDNIGHT, trigger=JobRun.Trigger.SCHEDULE)
        assert (done.status, done.error) == ("succeeded", "")
        assert words in done.summary, done.summary
        assert done.counts
        assert done.duration_seconds is not None

    # The models that serve were trained tonight; the snapshot carries them; everybody has picks.
    champions = {version.kind: version for version in ModelVersion.objects.filter(stage="champion")}
    assert set(champions) == {"matcher", "blender"}
    current = hot.get("snapshot:current")
    assert current is not None
    assert Pick.objects.values("visitor").distinct().count() == 60
    # Yesterday's sums and books are complete.
    assert DailyStat.objects.get(date=(MIDNIGHT - DAY).date(), source="demo").spend_micros == 12 * MICROS
    assert HourlyStat.objects.count() == DailyStat.objects.count()

    # The same night again (a second scheduler, a message delivered twice) changes nothing.
    runs = JobRun.objects.count()
    for name, words in NIGHT:
        again = run(name, slot=MIDNIGHT, at=MIDNIGHT, trigger=JobRun.Trigger.SCHEDULE)
        assert (again.attempt, words in again.summary) == (1, True)
    assert JobRun.objects.count() == runs
    assert hot.get("snapshot:current") == current
    assert ModelVersion.objects.count() == 2
