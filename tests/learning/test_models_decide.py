"""Which models are in the snapshot decides who wins: swap the matcher, then the blender, and explain says why."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from adplatform.decision.engine import decide
from adplatform.decision.types import AdRequest, Decision, Placement, Seen
from adplatform.learning import live, profiles, publish, registry
from adplatform.learning.registry import Kind
from adplatform.learning.scorer import RequestScorer
from adplatform.learning.served import Models
from adplatform.learning.statistics import LiveStatistics
from ml import artifacts
from ml.ctr import compile as compiler
from ml.ctr.blender import train_blender
from ml.ctr.calibration import Calibration
from ml.ctr.features import NAMES, SCHEMA
from ml.text.matcher import Matcher
from tests.factories import NOON
from tests.learning.world import World, decision_slot, market, show

pytestmark = pytest.mark.django_db
SPAN = ("2026-06-01T00:00:00+00:00", "2026-06-15T00:00:00+00:00")


@pytest.fixture(autouse=True)
def models_folder(settings: Any, tmp_path: Path) -> None:
    settings.MODELS_DIR = tmp_path / "models"


def promote_matcher(W: Any) -> str:
    from adplatform.learning import embeddings

    draft = registry.draft_folder(Kind.MATCHER)
    encoder = embeddings.encoder().id
    Matcher(W.astype(np.float32), -4.0).save(draft, encoder_id=encoder, metrics={}, seed=0, data_range=SPAN)
    version = registry.register(
        kind=Kind.MATCHER, draft=draft, at=NOON, run=None, encoder=encoder, metrics={}
    )
    registry.promote(version, at=NOON)
    return version.name


def promote_blender(*, sign: float, middle: float) -> str:
    """Trees that follow the text score upwards, or (sign −1) downwards, around `middle`."""
    rng = np.random.default_rng(1)
    X = np.full((20_000, len(NAMES)), np.nan, np.float32)
    X[:, 0] = rng.uniform(-12, 6, len(X))
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-(sign * (X[:, 0] - middle) / 2)))).astype(np.float64)
    blender = train_blender(X, y, time_order=np.arange(len(X)), rising=frozenset())
    draft = registry.draft_folder(Kind.BLENDER)
    files = [blender.save(draft), compiler.compile_blender(blender, draft), Calibration().save(draft)]
    artifacts.write(draft, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=0, data_range=SPAN)
    version = registry.register(kind=Kind.BLENDER, draft=draft, at=NOON, run=None, encoder="", metrics={})
    registry.promote(version, at=NOON)
    return version.name


def answer(world: World, hot: Any, folder: Path) -> Decision:
    """The same request, seed and market every time; only the models differ."""
    shutil.rmtree(folder, ignore_errors=True)
    publish.write_models(
        folder,
        creatives=[publish.CreativeText(one.pk, one.text) for one in world.creatives],
        sites=[publish.SiteText(slot.site_id, publish.site_text(slot.site)) for slot in world.slots],
    )
    statistics = LiveStatistics()
    statistics.refresh(hot)
    visitor = world.visitors[0].pseudonym
    slot = decision_slot(world.slots[0])
    request = AdRequest(
        request_id="fixed",
        at=NOON,
        placements=(Placement("p", slot),),
        visitor=visitor,
        device="mobile",
        explain=True,
    )
    scorer = RequestScorer(Models.load(folder), hot.hgetall(f"visitor:{visitor}"), statistics.view)
    return decide(
        request=request,
        candidates=world.candidates(),
        seen=Seen(),
        scorer=scorer,
        rng=Random(3),
        epsilon=0.0,
        seed=11,
    )


def winner(decision: Decision) -> int:
    """Who bids most before the draw of the exploration; what was shown bid most under it, as explain tells."""
    shown = max(decision.table, key=lambda line: line.sampled_micros or 0)
    assert shown.candidate.creative_id == decision.picks[0].candidate.creative_id
    return max(decision.table, key=lambda line: line.bid_micros or 0).candidate.creative_id


def test_swapping_the_matcher_then_the_blender_changes_the_winner(hot: Any, tmp_path: Path) -> None:
    world = market()
    profiles.embed_creatives(NOON)
    show(world, impressions=600, since=NOON - timedelta(days=1), until=NOON)
    live.apply(hot, world.facts)
    profiles.embed_visitors(NOON)
    up = promote_blender(sign=1.0, middle=-2.0)
    likes = promote_matcher(8 * np.eye(384))
    first = answer(world, hot, tmp_path / "snapshot")
    dislikes = promote_matcher(-8 * np.eye(384))
    second = answer(world, hot, tmp_path / "snapshot")
    down = promote_blender(sign=-1.0, middle=-7.0)
    third = answer(world, hot, tmp_path / "snapshot")
    garden = {one.pk for one in world.creatives[:2]}
    assert world.topics[0] == "garden"
    assert winner(first) in garden
    assert winner(second) not in garden
    assert winner(third) in garden
    named = [{key: one.versions[key] for key in ("matcher", "blender")} for one in (first, second, third)]
    assert named == [
        {"matcher": likes, "blender": up},
        {"matcher": dislikes, "blender": up},
        {"matcher": dislikes, "blender": down},
    ]
    assert json.loads((tmp_path / "snapshot" / "models.json").read_text())["versions"]["blender"] == down
