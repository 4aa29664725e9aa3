"""Days are the sums of their hours, whatever happened to the hours meanwhile."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from adplatform.events import rollups
from adplatform.events.models import DailyStat
from adplatform.events.tasks import rollup
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def run(*, dry_run: bool = False):
    return rollup(at=NOON, slot=NOON, dry_run=dry_run, progress=lambda done, total: None)


def test_a_day_is_rebuilt_from_its_hours_and_once_is_enough() -> None:
    creative, slot = factories.creative(), factories.slot()
    factories.hourly_stat(creative, slot, hour=NOON.replace(hour=0), impressions=2, spend_micros=7)
    factories.hourly_stat(creative, slot, hour=NOON.replace(hour=23), impressions=3, clicks=1)
    factories.hourly_stat(creative, slot, hour=NOON + timedelta(days=1), impressions=9)
    assert run().counts == {"days": 2, "rows": 2}
    day = DailyStat.objects.get(date=date(2026, 6, 15))
    assert (day.impressions, day.clicks, day.spend_micros) == (5, 1, 7)
    assert run().counts == {"days": 0, "rows": 0}


def test_a_late_event_makes_only_its_day_stale() -> None:
    stat = factories.hourly_stat(impressions=1)
    factories.hourly_stat(hour=NOON + timedelta(days=3), impressions=1)
    run()
    stat.clicks = 1
    stat.save()
    assert rollups.stale_days() == [date(2026, 6, 15)]
    run()
    assert DailyStat.objects.get(date=date(2026, 6, 15)).clicks == 1


def test_a_dry_run_changes_nothing() -> None:
    factories.hourly_stat(impressions=1)
    assert run(dry_run=True).counts["days"] == 1
    assert DailyStat.objects.count() == 0


def test_totals_of_imports_stay_apart() -> None:
    creative, slot = factories.creative(), factories.slot()
    factories.hourly_stat(creative, slot, impressions=1)
    factories.hourly_stat(creative, slot, impressions=5, source="import")
    run()
    assert dict(DailyStat.objects.values_list("source", "impressions")) == {"live": 1, "import": 5}
