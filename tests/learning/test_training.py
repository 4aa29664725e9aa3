"""One training run: a challenger beside what serves, a verdict in words, one champion of each kind, one way back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adplatform.core.models import Outbox
from adplatform.learning import registry, services
from adplatform.learning.models import ModelVersion, TrainingRun
from adplatform.learning.registry import Kind, Stage
from ml.ctr import features
from tests.factories import NOON
from tests.learning.world import World, market, show

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def models_folder(settings: Any, tmp_path: Path) -> Path:
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR


def five_days() -> World:
    world = market(visitors=60)
    show(world, impressions=8_000, since=NOON - 5 * DAY, until=NOON)
    return world


def test_a_first_model_beats_the_prior_and_serves() -> None:
    five_days()
    result = services.train(at=NOON)
    assert result.is_promoted, result.verdict
    assert result.verdict.startswith("Promoted: normalised entropy 0.")
    assert "the prior" in result.verdict
    challenger, prior = result.metrics["challenger"], result.metrics["prior"]
    assert challenger["ne"] < prior["ne"] - 0.01
    assert challenger["ne"] < result.metrics["compared"]["counters only"]["ne"]
    champions = {version.kind: version for version in ModelVersion.objects.filter(stage=Stage.CHAMPION)}
    assert set(champions) == {Kind.MATCHER, Kind.BLENDER}
    assert all((registry.folder_of(version) / "manifest.json").exists() for version in champions.values())
    assert Outbox.objects.filter(topic="snapshot").count() == 1  # both in one snapshot
    run = TrainingRun.objects.get()
    calibration = run.metrics["calibration"]
    assert calibration["candidates"].keys() == {"none", "level", "platt", "beta", "segments"}
    assert calibration["chosen"] in calibration["candidates"]
    assert [one["rows"] for one in calibration["before"]] == [
        one["rows"] for one in run.metrics["reliability"]["bins"]
    ]
    assert run.metrics["conversion"]["chosen"] == "rate"
    assert run.metrics["conversion"]["why"].startswith("Too few clicks converted (0,")
    importance = run.metrics["importance"]
    assert importance["groups"]["text_match"] > 0.01
    assert importance["features"].keys() == set(features.NAMES)
    assert (run.rows, run.is_promoted, run.verdict) == (8_000, True, result.verdict)


def test_the_next_model_is_compared_with_the_champion_and_can_be_undone() -> None:
    world = five_days()
    first = services.train(at=NOON)
    show(world, impressions=1_600, since=NOON, until=NOON + DAY, seed=2)
    second = services.train(at=NOON + DAY)
    assert first.versions[0].name in second.verdict
    assert ModelVersion.objects.filter(stage=Stage.CHAMPION).count() == 2
    if second.is_promoted:
        assert ModelVersion.objects.filter(stage=Stage.RETIRED).count() == 2
        restored = registry.rollback(at=NOON + 2 * DAY)
        assert {version.name for version in restored} == {version.name for version in first.versions}
    assert {registry.champion(kind).name for kind in Kind.values} == {
        version.name for version in first.versions
    }


def test_without_impressions_nothing_is_trained_and_the_run_says_why() -> None:
    market()
    result = services.train(at=NOON)
    assert (result.is_promoted, result.versions) == (False, [])
    assert result.verdict == "Not trained: there are no impressions to learn from."


def test_a_rollback_needs_somewhere_to_go() -> None:
    with pytest.raises(registry.RegistryError):
        registry.rollback(at=NOON)


def test_only_the_blender_keeps_the_matcher() -> None:
    five_days()
    services.train(at=NOON)
    matcher = registry.champion(Kind.MATCHER)
    result = services.train(at=NOON, only="blender")
    assert [version.kind for version in result.versions] == [Kind.BLENDER]
    assert registry.champion(Kind.MATCHER) == matcher


def test_a_weight_that_changed_on_disk_is_not_served(models_folder: Path) -> None:
    from ml.artifacts import ArtifactError

    five_days()
    services.train(at=NOON)
    version = registry.champion(Kind.BLENDER)
    path = registry.folder_of(version) / "blender.txt"
    path.write_text(path.read_text()[:-200])
    with pytest.raises(ArtifactError):
        registry.load_blender(version)


def test_each_version_has_a_card_that_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from django.core.management import call_command

    five_days()
    result = services.train(at=NOON, seed=4)
    blender = next(version for version in result.versions if version.kind == Kind.BLENDER)
    call_command("model_card", blender.name, "--json")
    card = json.loads(capsys.readouterr().out)
    assert (card["data"]["impressions"], card["seed"], card["stage"]) == (8_000, 4, "champion")
    assert card["newest_day"]["prior"]["ne"] > card["newest_day"]["challenger"]["ne"]
    assert "creative_ctr" in card["features"]
    assert card["limits"]
    assert card["cost"]["cpu_seconds"] > 0
    assert "estimated, not measured" in card["cost"]["assumption"]
    call_command("model_card", blender.name)
    assert f"{blender.name}  Blender (LightGBM)" in capsys.readouterr().out


def test_what_passes_may_first_answer_a_share_of_the_traffic(settings: Any) -> None:
    world = five_days()
    first = services.train(at=NOON)
    settings.MODEL_ROLLOUT, settings.CANARY_PERCENT = "canary", 15
    show(world, impressions=1_600, since=NOON, until=NOON + DAY, seed=2)
    second = services.train(at=NOON + DAY)
    assert not second.is_promoted
    if second.verdict.startswith("Passed"):
        assert second.verdict.startswith("Passed the gate and answers 15 % of the visitors: ")
        assert {(one.stage, one.share_bp) for one in second.versions} == {(Stage.CANARY, 1_500)}
    assert {registry.champion(kind).name for kind in Kind.values} == {one.name for one in first.versions}
