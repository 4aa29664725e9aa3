"""A canary that is worse is stopped by itself; one that is as good is left alone, however often it is looked at."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adplatform.core.models import Outbox
from adplatform.learning import canary, registry, shadow
from adplatform.learning.canary import Arm
from adplatform.learning.models import ModelVersion, ShadowPrediction
from adplatform.learning.registry import Kind, Stage
from ml.ctr.features import NAMES
from tests import factories
from tests.factories import NOON
from tests.learning.test_models_decide import promote_blender

HOUR = timedelta(hours=1)


def arm(*, units: int, rate: float, promise: float = 1.0, seed: int) -> Arm:
    """Visitors with one to five impressions and tastes of their own, clicking at `rate`, promised `promise` times it."""
    rng = np.random.default_rng(seed)
    impressions = rng.integers(1, 6, units).astype(np.float64)
    taste = rng.gamma(2, 0.5, units)
    clicks = rng.binomial(impressions.astype(int), np.minimum(rate * taste, 1)).astype(np.float64)
    return Arm(impressions, clicks, promise * rate * taste * impressions)


def first(one: Arm, units: int) -> Arm:
    return Arm(one.impressions[:units], one.clicks[:units], one.predicted[:units])


def test_a_canary_as_good_as_the_champion_is_hardly_ever_stopped() -> None:
    stopped = 0
    for seed in range(100):
        a, b = arm(units=4_000, rate=0.05, seed=seed), arm(units=20_000, rate=0.05, seed=1_000 + seed)
        looks = range(200, 4_001, 200)
        stopped += any(canary.verdict(first(a, n), first(b, 5 * n)).is_stopped for n in looks)
    assert stopped <= 5


def test_fewer_clicks_stop_it() -> None:
    found = canary.verdict(arm(units=6_000, rate=0.035, seed=1), arm(units=30_000, rate=0.05, seed=2))
    assert found.is_stopped
    assert "is surely below the champion's" in found.words


def test_promises_that_are_not_kept_stop_it() -> None:
    found = canary.verdict(
        arm(units=8_000, rate=0.05, promise=1.6, seed=1), arm(units=30_000, rate=0.05, seed=2)
    )
    assert found.is_stopped
    assert "clicks for each that comes" in found.words
    # A champion that is as wrong is no reason to prefer it.
    both = canary.verdict(
        arm(units=8_000, rate=0.05, promise=1.6, seed=1), arm(units=30_000, rate=0.05, promise=1.6, seed=2)
    )
    assert not both.is_stopped


def test_nothing_is_said_of_a_handful_of_clicks() -> None:
    found = canary.verdict(arm(units=50, rate=0.0, seed=1), arm(units=50, rate=0.5, seed=2))
    assert (found.is_stopped, found.words) == (False, "Too early: fewer than 30 clicks on one side.")


# --- on the platform's own facts --------------------------------------------------------------------------------------


@pytest.fixture
def versions(db: None, settings: Any, tmp_path: Path) -> tuple[ModelVersion, ModelVersion]:
    """A champion, and a newer blender that follows the text score the other way round."""
    settings.MODELS_DIR = tmp_path / "models"
    promote_blender(sign=1.0, middle=-2.0)
    newer = ModelVersion.objects.get(name=promote_blender(sign=-1.0, middle=-2.0))
    registry.rollback(at=NOON)
    champion = registry.champion(Kind.BLENDER)
    assert champion is not None
    newer.refresh_from_db()
    return champion, newer


def show(version: ModelVersion, *, ads: int, clicks: int, pctr: float, text: float = 0.0) -> None:
    """Ads of one creative that this version answered with, each to a visitor of his own; the first are clicked."""
    creative, slot = factories.creative(), factories.slot()
    features = np.full(len(NAMES), np.nan, "<f4")
    for number in range(ads):
        features[0] = text if number < clicks else -text
        decision = factories.decision(
            creative,
            slot,
            served_at=NOON + timedelta(seconds=number),
            pctr=pctr,
            versions={"matcher": "similarity", "blender": version.name},
            features=features.tobytes(),
        )
        factories.impression(decision)
        if number < clicks:
            factories.click(decision)


def test_the_job_stops_a_worse_canary_and_a_snapshot_follows(
    versions: tuple[ModelVersion, ModelVersion],
) -> None:
    champion, newer = versions
    registry.start_canary(newer, 50, at=NOON)
    show(champion, ads=300, clicks=120, pctr=0.4)
    show(newer, ads=300, clicks=45, pctr=0.4)
    Outbox.objects.all().delete()
    assert canary.watch(at=NOON + HOUR, dry_run=True).is_stopped
    newer.refresh_from_db()
    assert newer.stage == Stage.CANARY  # a dry run changes nothing
    found = canary.watch(at=NOON + HOUR)
    newer.refresh_from_db()
    assert found.is_stopped
    assert (newer.stage, newer.share_bp, newer.live["ended"]) == (Stage.REFUSED, 0, found.words)
    assert newer.live["canary"]["champion"]["clicks"] == 120
    assert Outbox.objects.filter(topic="snapshot").count() == 1
    assert canary.watch(at=NOON + HOUR).words == "No canary."


def test_a_good_canary_goes_on_and_its_figures_are_kept(versions: tuple[ModelVersion, ModelVersion]) -> None:
    champion, newer = versions
    registry.start_canary(newer, 50, at=NOON)
    show(champion, ads=150, clicks=60, pctr=0.4)
    show(newer, ads=150, clicks=62, pctr=0.4)
    assert canary.watch(at=NOON + HOUR).words.startswith("No worse so far: CTR 41.333% beside 40.000%")
    newer.refresh_from_db()
    assert (newer.stage, newer.live["canary"]["canary"]["impressions"]) == (Stage.CANARY, 150)


def test_a_shadow_predicts_for_what_the_champion_showed_and_decides_nothing(
    versions: tuple[ModelVersion, ModelVersion],
) -> None:
    champion, newer = versions
    registry.start_shadow(newer, at=NOON - HOUR)
    show(champion, ads=200, clicks=60, pctr=0.3, text=-6.0)  # what it likes is clicked: low text scores
    done = shadow.score(at=NOON + HOUR)
    assert done.predictions == 200
    assert ShadowPrediction.objects.filter(version=newer).count() == 200
    assert done.figures["ne"] < 0.5 < 0.99 < done.figures["ne_champion"]
    assert done.words.startswith("On 200 ads and 60 clicks: normalised entropy 0.")
    newer.refresh_from_db()
    assert newer.live["shadow"]["clicks"] == 60
    assert registry.champion(Kind.BLENDER) == champion

    # Running again adds nothing.
    assert shadow.score(at=NOON + HOUR).predictions == 0
    registry.stop(newer, why="seen enough")
    assert shadow.score(at=NOON + HOUR).words == "No shadow."
