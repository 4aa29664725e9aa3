"""Bad data train nothing, and the run says why; the report stays. Good data of a small market are not refused."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from random import Random

import pytest
from django.core.management import CommandError, call_command

from adplatform.core import clock
from adplatform.jobs.models import JobRun
from adplatform.jobs.services import run
from adplatform.learning import quality, services
from adplatform.learning.models import DataReport, ModelVersion, TrainingRun
from tests import factories
from tests.factories import NOON
from tests.learning.world import World, market, show

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def small_market(impressions: int = 900) -> World:
    world = market(visitors=60)
    show(world, impressions=impressions, since=NOON - 5 * DAY, until=NOON)
    return world


def break_clicks(world: World) -> None:
    """A hundred clicks that were told an hour before their ad was shown."""
    chance = Random(0)
    for number in range(100):
        served_at = NOON - DAY - timedelta(seconds=chance.randrange(200_000))
        reader = world.visitors[number % len(world.visitors)].pseudonym
        decision = factories.decision(world.creatives[0], world.slots[0], served_at=served_at, visitor=reader)
        factories.impression(decision)
        factories.click(decision, occurred_at=served_at - timedelta(hours=1))


def test_bad_data_train_nothing_and_the_run_says_why() -> None:
    break_clicks(small_market())
    result = services.train(at=NOON)
    assert (result.is_promoted, result.versions) == (False, [])
    assert result.verdict.startswith("Not trained: the data are refused.")
    assert "rows have impossible times" in result.verdict
    training = TrainingRun.objects.get()
    assert training.metrics["quality"]["severity"] == "refuse"
    assert training.verdict == result.verdict
    report = DataReport.objects.get()
    assert (report.run, report.severity, len(report.refusals)) == (training, "refuse", 1)
    assert not ModelVersion.objects.exists()


def test_the_nightly_job_keeps_a_report_and_a_dry_run_does_not() -> None:
    small_market()
    for is_dry in (True, False):
        done = run("examine_data", slot=NOON, at=NOON, trigger=JobRun.Trigger.SCHEDULE, dry_run=is_dry)
        assert (done.error, done.summary) == ("", "900 impressions: nothing to remark.")
    assert DataReport.objects.get().severity == "ok"


def test_the_command_fails_where_training_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)
    world = small_market()
    said = StringIO()
    call_command("data_quality", stdout=said)
    assert said.getvalue().splitlines()[-1] == "900 impressions: nothing to remark."
    break_clicks(world)
    said = StringIO()
    with pytest.raises(CommandError, match="Refused: 1 reasons"):
        call_command("data_quality", "--json", stdout=said)
    assert json.loads(said.getvalue())["severity"] == "refuse"
    assert DataReport.objects.count() == 2


def test_a_threshold_of_the_settings_counts(settings: object) -> None:
    settings.QUALITY_THRESHOLDS = {"drift_warn": 0.3, "bot_fewest_gaps": 40.0}
    limits = quality.thresholds()
    assert (limits.drift_warn, limits.bot_fewest_gaps) == (0.3, 40)
    settings.QUALITY_THRESHOLDS = {"drift_worn": 0.3}
    with pytest.raises(quality.ThresholdError, match="drift_worn"):
        quality.thresholds()
