"""The main job: ten ads per visitor, the same numbers as a request would get, through real workers or without any."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from adplatform.audience.models import Consent
from adplatform.decision.types import AdRequest, Candidates
from adplatform.learning import live, picks, profiles, publish, scoring
from adplatform.learning.models import Pick
from adplatform.learning.scorer import RequestScorer
from adplatform.learning.served import Models
from adplatform.learning.statistics import LiveStatistics
from tests.factories import NOON
from tests.learning.world import ADS, World, decision_slot, market, show

DAY = timedelta(days=1)


def ready(hot: Any) -> World:
    world = market()
    profiles.embed_creatives(NOON)
    show(world, impressions=400, since=NOON - DAY, until=NOON)
    live.apply(hot, world.facts)
    profiles.embed_visitors(NOON)
    return world


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.mark.django_db
def test_picks_are_what_a_request_would_get(hot: Any, tmp_path: Path) -> None:
    world = ready(hot)
    shelf = picks.library(NOON)
    person = world.visitors[5].pseudonym
    best = picks.best(shelf, [person, world.visitors[6].pseudonym], at=NOON)
    publish.write_models(
        tmp_path,
        creatives=[publish.CreativeText(one.pk, one.text) for one in world.creatives],
        sites=[publish.SiteText(slot.site_id, publish.site_text(slot.site)) for slot in world.slots],
    )
    statistics = LiveStatistics()
    statistics.refresh(hot)
    scorer = RequestScorer(Models.load(tmp_path), hot.hgetall(f"visitor:{person}"), statistics.view)
    slot = decision_slot(shelf.slots[int(shelf.place[0])])
    request = AdRequest(request_id="r", at=NOON, placements=(), visitor=person)
    fixed = world.candidates()
    scores = scorer.score(request, slot, Candidates(fixed, np.arange(len(fixed))))
    by_id = {one.creative_id: row for row, one in enumerate(fixed)}
    rows = [by_id[number] for number in shelf.creative[best.ad[0]].tolist()]
    np.testing.assert_allclose(best.text[0], scores.text[rows], rtol=1e-5)
    if shelf.blender is not None:
        np.testing.assert_allclose(best.pctr[0], scores.pctr[rows], rtol=1e-5)
    assert best.pctr[0].tolist() == sorted(best.pctr[0].tolist(), reverse=True)


@pytest.mark.django_db
def test_the_first_pick_is_about_what_the_visitor_reads(hot: Any) -> None:
    world = ready(hot)
    shelf = picks.library(NOON)
    names = [person.pseudonym for person in world.visitors[:3]]
    best = picks.best(shelf, names, at=NOON)
    topic_of = [topic for topic, headlines in ADS.items() for _ in headlines]
    place = {one.pk: row for row, one in enumerate(world.creatives)}
    first = [topic_of[place[int(shelf.creative[ad])]] for ad in best.ad[:, 0]]
    assert first == world.topics[:3]


def test_retrieval_is_exact_and_fair_to_ads_without_a_text_score() -> None:
    text = np.array([[0.1, 0.9, np.nan, -0.5, 0.3]])
    assert picks.retrieve(text, 3).tolist() == [[1, 2, 4]]  # the unknown stands at the mean, 0.2
    assert picks.retrieve(text, 9).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.django_db
def test_without_any_worker_the_coordinator_does_it(hot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SHARD_VISITORS", 5)
    monkeypatch.setattr(scoring, "SILENCE_SECONDS", 0.2)
    ready(hot)
    done = scoring.score(at=NOON, progress=quiet)
    assert (done.visitors, done.ads, done.pairs, done.picks) == (12, 6, 72, 72)
    assert Pick.objects.count() == 72
    assert set(Pick.objects.values_list("rank", flat=True)) == {1, 2, 3, 4, 5, 6}
    again = scoring.score(at=NOON, progress=quiet)
    assert (again.picks, Pick.objects.count()) == (72, 72)
    assert "72 picks for 12 visitors out of 6 ads" in done.words()


@pytest.mark.django_db
def test_who_refused_is_not_picked_for(hot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SILENCE_SECONDS", 0.2)
    world = ready(hot)
    scoring.score(at=NOON, progress=quiet)
    Consent.objects.create(visitor=world.visitors[0], is_granted=False, source="gpc", at=NOON)
    assert scoring.score(at=NOON + DAY, progress=quiet).visitors == 11
    assert not Pick.objects.filter(visitor=world.visitors[0].pseudonym).exists()


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_scores_the_shards(hot: Any, live_worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SHARD_VISITORS", 5)
    monkeypatch.setattr(scoring, "SILENCE_SECONDS", 60.0)
    monkeypatch.setattr(scoring, "run_shard", None)  # the coordinator must not be the one who works
    ready(hot)
    done = scoring.score(at=NOON, progress=quiet, limit=11)
    assert (done.visitors, done.picks, Pick.objects.count()) == (11, 66, 66)


@pytest.mark.django_db(transaction=True)
def test_one_worker_child_for_both_queues_does_not_wait_for_itself(
    hot: Any, live_worker: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from adplatform.jobs import services as jobs
    from adplatform.jobs.models import JobRun
    from adplatform.learning.tasks import score

    ready(hot)
    assert score is not None
    slot = jobs.enqueue("score")
    for _ in range(300):
        run = JobRun.objects.filter(job_id="score", slot=slot).exclude(status=JobRun.Status.RUNNING).first()
        if run:
            break
        __import__("time").sleep(0.1)
    assert run is not None
    assert run.status == JobRun.Status.SUCCEEDED, run.error
    assert run.counts["visitors"] == 12
    assert (run.progress_done, run.progress_total) == (1, 1)


@pytest.mark.django_db
def test_the_command_refuses_nonsense() -> None:
    from django.core.management.base import CommandError

    with pytest.raises(CommandError) as caught:
        call_command("score", visitors=0)
    assert caught.value.returncode == 2
