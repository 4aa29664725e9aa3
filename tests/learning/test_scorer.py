"""What serving computes for a request is what training saw for that moment, and every missing part steps down."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adplatform.decision.types import AdRequest, Candidates
from adplatform.learning import dataset, embeddings, export, live, profiles, publish
from adplatform.learning.scorer import RequestScorer
from adplatform.learning.served import Models
from adplatform.learning.statistics import LiveStatistics
from ml import online
from ml.ctr import features
from ml.ctr.replay import replay
from ml.schema import ImpressionLog
from ml.value.conversion import ConversionModel
from tests.factories import NOON
from tests.learning.world import World, candidate, decision_slot, market, show

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def snapshot(world: World, folder: Path) -> Models:
    sites = {slot.site_id: slot.site for slot in world.slots}
    publish.write_models(
        folder,
        creatives=[publish.CreativeText(one.pk, one.text, one.language) for one in world.creatives],
        sites=[publish.SiteText(number, publish.site_text(site)) for number, site in sites.items()],
    )
    return Models.load(folder)


def ready(hot: Any, *, impressions: int = 400) -> tuple[World, LiveStatistics]:
    world = market()
    profiles.embed_creatives(NOON)
    show(world, impressions=impressions, since=NOON - DAY, until=NOON)
    live.apply(hot, world.facts)
    profiles.embed_visitors(NOON)
    statistics = LiveStatistics()
    statistics.refresh(hot)
    return world, statistics


def ask(world: World, visitor: str | None, slot_number: int = 0, at: Any = NOON) -> tuple[AdRequest, Any]:
    slot = decision_slot(world.slots[slot_number])
    return AdRequest(request_id="r", at=at, placements=(), visitor=visitor, device="mobile"), slot


def everyone(world: World) -> Candidates:
    fixed = world.candidates()
    return Candidates(fixed, np.arange(len(fixed)))


def replayed(world: World, visitor: str, slot: Any) -> Any:
    """What training sees of one more request at noon, with all ads shown in it."""
    known, count = export.training_log(until=NOON), len(world.creatives)
    log, creatives = known.log, world.creatives
    campaigns = [one.line_item.campaign for one in creatives]
    more = ImpressionLog(
        time=np.append(log.time, [NOON.timestamp()] * count),
        click_time=np.append(log.click_time, [np.nan] * count),
        creative=np.append(log.creative, [one.pk for one in creatives]),
        line_item=np.append(log.line_item, [one.line_item_id for one in creatives]),
        campaign=np.append(log.campaign, [one.pk for one in campaigns]),
        advertiser=np.append(log.advertiser, [one.organisation_id for one in campaigns]),
        slot=np.append(log.slot, [slot.id] * count),
        site=np.append(log.site, [slot.site_id] * count),
        visitor=np.append(log.visitor, [visitor] * count),
    )
    site = np.append(known.site, [slot.site_id] * count)
    device = np.append(known.device, ["mobile"] * count)
    table = dataset.of_log(export.TrainingLog(more, site, device, known.slots), until=NOON)
    return features.build(replay(table.log, text_score=table.text_scores(None)))[-count:]


@pytest.mark.parametrize("known", [True, False])
def test_features_live_equal_those_of_training(hot: Any, tmp_path: Path, known: bool) -> None:
    world, statistics = ready(hot)
    visitor = world.visitors[4].pseudonym if known else None
    models = snapshot(world, tmp_path)
    request, slot = ask(world, visitor)
    fields = hot.hgetall(f"visitor:{visitor}") if visitor else {}
    scorer = RequestScorer(models, fields, statistics.view)
    served = features.build(scorer.raw(request, slot, everyone(world)))
    asked = everyone(world)
    counts = models.counts(statistics.view, asked.fixed)
    fast = scorer._features(request, slot, counts, asked.rows, scorer._text(slot, counts.aligned, asked.rows))
    np.testing.assert_array_equal(fast, served)
    trained = replayed(world, visitor or "", slot)
    assert not np.isnan(served[:, features.NAMES.index("text_score")]).any()
    np.testing.assert_allclose(served, trained, rtol=1e-6, atol=1e-6)


def test_an_ad_about_what_a_visitor_reads_scores_highest(hot: Any, tmp_path: Path) -> None:
    world, statistics = ready(hot, impressions=20)
    models = snapshot(world, tmp_path)
    for person, topic in zip(world.visitors[:3], world.topics, strict=False):
        scorer = RequestScorer(models, hot.hgetall(f"visitor:{person.pseudonym}"), statistics.view)
        request, slot = ask(world, person.pseudonym)
        best = np.argsort(-scorer.lift(request, slot, everyone(world)))[:2]
        owner = {"garden": 0, "cars": 1, "cooking": 2}[topic]
        assert sorted(best.tolist()) == [2 * owner, 2 * owner + 1]


def test_without_a_profile_the_site_speaks_for_the_visitor(hot: Any, tmp_path: Path) -> None:
    world, statistics = ready(hot, impressions=20)
    scorer = RequestScorer(snapshot(world, tmp_path), {}, statistics.view)
    garden, kitchen = ask(world, None, 0), ask(world, None, 2)
    assert scorer.lift(*garden, everyone(world)).argmax() in (0, 1)
    assert scorer.lift(*kitchen, everyone(world)).argmax() in (4, 5)


def test_a_profile_of_another_encoder_is_not_used(hot: Any, tmp_path: Path) -> None:
    world, _ = ready(hot, impressions=20)
    models = snapshot(world, tmp_path)
    fields = hot.hgetall(f"visitor:{world.visitors[0].pseudonym}")
    assert models.profile(fields) is not None
    assert models.profile(fields | {b"m": b"another"}) is None
    assert models.profile(fields | {b"u": fields[b"u"][:-2]}) is None


def test_a_creative_without_a_vector_is_scored_by_its_statistics(hot: Any, tmp_path: Path) -> None:
    world, statistics = ready(hot)
    world.creatives[0].headline = "Nobody has encoded this yet"
    scorer = RequestScorer(snapshot(world, tmp_path), {}, statistics.view)
    scores = scorer.score(*ask(world, None), everyone(world))
    assert np.isnan(scores.text[0])
    assert not np.isnan(scores.text[1:]).any()
    assert ((scores.pctr > 0) & (scores.pctr < 1)).all()
    assert np.isfinite(scorer.lift(*ask(world, None), everyone(world))).all()


def test_a_conversion_model_moves_the_line_items_rate_by_text_device_and_site(
    hot: Any, tmp_path: Path
) -> None:
    world, statistics = ready(hot)
    models = snapshot(world, tmp_path)
    fixed = [candidate(one, pcvr=0.1) for one in world.creatives]
    everybody = Candidates(fixed, np.arange(len(fixed)))
    request, slot = ask(world, None)
    smoothed = RequestScorer(models, {}, statistics.view).score(request, slot, everybody)
    assert smoothed.pcvr.tolist() == [0.1] * len(fixed)
    models.conversion = ConversionModel(
        1.0, 0.0, text_weight=0.5, text_mean=0.0, devices={1: 0.3}, sites={slot.site_id: -0.1}
    )
    models._aligned = None  # as a new snapshot has it
    moved = RequestScorer(models, {}, statistics.view).score(request, slot, everybody)
    odds = moved.pcvr / (1 - moved.pcvr)
    np.testing.assert_allclose(odds, np.exp(0.5 * moved.text + 0.3 - 0.1) / 9)


def test_without_anything_trained_or_encoded_the_prior_answers(tmp_path: Path) -> None:
    world = market()
    scorer = RequestScorer(snapshot(world, tmp_path), {}, LiveStatistics().view)
    scores = scorer.score(*ask(world, None), everyone(world))
    assert scorer.mode == "prior"
    assert dict(scorer.versions) == {"matcher": "similarity", "blender": "prior", "encoder": ""}
    np.testing.assert_allclose(scores.pctr, 0.01)
    assert np.isnan(scores.text).all()


def test_the_rarely_seen_are_uncertain() -> None:
    sd = online.posterior_sd(np.array([0.0, 990_000.0, 0.0]), np.array([0.01, 0.01, 0.2]))
    np.testing.assert_allclose(sd, [1.0, 0.0101, 0.25], atol=1e-3)


def test_a_changed_file_is_refused(hot: Any, tmp_path: Path) -> None:
    from ml.artifacts import ArtifactError

    world, _ = ready(hot, impressions=10)
    snapshot(world, tmp_path)
    path = tmp_path / "creatives.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(ArtifactError):
        Models.load(tmp_path)


def test_serving_loads_neither_django_nor_torch(hot: Any, tmp_path: Path) -> None:
    world, _ = ready(hot, impressions=10)
    snapshot(world, tmp_path)
    code = (
        "import sys; from adplatform.learning.served import Models; Models.load(sys.argv[1]);"
        "print(sorted({'django','torch','lightgbm','pandas','sklearn','transformers','scipy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_fifty_candidates_take_less_than_a_millisecond_or_so(hot: Any, tmp_path: Path) -> None:
    world, statistics = ready(hot)
    models = snapshot(world, tmp_path)
    fixed = [candidate(world.creatives[number % 6]) for number in range(50)]
    asked, fields = Candidates(fixed, np.arange(50)), hot.hgetall(f"visitor:{world.visitors[0].pseudonym}")
    request, slot = ask(world, world.visitors[0].pseudonym)
    seconds = []
    for _ in range(50):
        start = time.thread_time()
        RequestScorer(models, fields, statistics.view).score(request, slot, asked)
        seconds.append(time.thread_time() - start)
    assert sorted(seconds)[25] < 0.003  # 0.3 ms where it was written; a slow, shared machine gets room


def test_embeddings_are_what_the_snapshot_was_built_from(hot: Any, tmp_path: Path) -> None:
    world, _ = ready(hot, impressions=10)
    models = snapshot(world, tmp_path)
    expected = embeddings.cached(embeddings.encoder().id, [one.text for one in world.creatives])
    rows = models.creatives.rows(np.array([one.pk for one in world.creatives]))
    np.testing.assert_array_equal(models.creatives.vectors[rows], expected)
