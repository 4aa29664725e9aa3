"""Classical engines on the platform: fitted on what visitors did, judged on what they were shown, off unless they help."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from adplatform.events.models import Impression
from adplatform.learning import beliefs, embeddings, engine_trials, engines, export, picks, profiles
from adplatform.learning.engines import CO_VISITS, CONTENT, FACTORS, TRANSFORMER
from adplatform.learning.models import BeliefFit, EngineFit
from adplatform.learning.publish import CreativeText, SiteText, write_models
from adplatform.learning.served import Models
from tests.factories import NOON
from tests.learning.world import World, _decision, _event, market, show

pytestmark = pytest.mark.django_db


def lived(*, visitors: int = 80, impressions: int = 2_400) -> World:
    """Three weeks in which readers of a topic click its ads."""
    world = market(visitors=visitors)
    profiles.embed_creatives(NOON)
    show(world, impressions=impressions, since=NOON - timedelta(days=19), until=NOON)
    return world


def test_an_ad_goes_with_the_pages_of_who_clicked_it_and_stays_so_when_kept(hot: Any) -> None:
    world = lived(visitors=24, impressions=900)
    done = export.acts(until=NOON)
    texts = [one.text for one in world.creatives]
    encoder = embeddings.encoder().id
    embeddings.vectors(done.texts)
    fitted = engines.fit(done, texts, before=NOON.timestamp(), encoder=encoder)
    gardener = world.visitors[world.topics.index("garden")].pseudonym
    scores = fitted.scores(
        done, [gardener, "a stranger"], fitted.codes([*texts, "nobody's ad"]), NOON.timestamp()
    )
    assert list(scores) == [CO_VISITS, FACTORS, CONTENT]
    for table in scores.values():
        assert set(np.argsort(-table[0, :-1])[:2].tolist()) == {0, 1}  # the two ads about gardens
        assert np.isnan(table[:, -1]).all()
        assert (table[1, :-1] == 0).all()

    fit = engine_trials.refresh(at=NOON)
    loaded = engines.load(engines.folder_of(fit), encoder=encoder)
    items = loaded.codes(texts)
    for name, table in loaded.scores(done, [gardener], items, NOON.timestamp()).items():
        np.testing.assert_allclose(table[0], scores[name][0, :-1], rtol=1e-4, atol=1e-6)


def test_a_few_visitors_prove_nothing_so_that_the_transformer_retrieves_alone(hot: Any) -> None:
    lived(visitors=12, impressions=600)
    fit = engine_trials.refresh(at=NOON)
    assert not fit.is_used
    assert fit.verdict.startswith("Not used: fewer than 50 visitors")
    assert engines.serving(embeddings.encoder().id) is None
    assert picks.library(NOON).sources is None


def test_each_source_is_judged_among_the_ads_that_were_shown(hot: Any) -> None:
    lived()
    fit = engine_trials.refresh(at=NOON)
    rows = fit.figures["sources"]
    assert set(rows) == {TRANSFORMER, CO_VISITS, FACTORS, CONTENT, "blend"}
    assert rows[CO_VISITS]["ndcg"][0] > 0.6
    assert fit.weights[TRANSFORMER] == 1.0
    assert fit.is_used == (rows[TRANSFORMER]["blend_gain"][1] > 0)
    assert fit.verdict.startswith("Used" if fit.is_used else "Not used")
    call_command("engines")


def test_used_engines_retrieve_and_picks_say_so(hot: Any, settings: Any) -> None:
    world = lived(visitors=24, impressions=900)
    profiles.embed_visitors(NOON)
    fit = engine_trials.refresh(at=NOON)
    EngineFit.objects.filter(pk=fit.pk).update(is_used=True, weights={CO_VISITS: 1.0})
    settings.RANKED_CANDIDATES = 2
    shelf = picks.library(NOON)
    assert shelf.versions["engines"] == fit.name
    gardener = world.visitors[world.topics.index("garden")].pseudonym
    best = picks.best(shelf, [gardener], at=NOON)
    assert set(best.ad[0].tolist()) == {0, 1}
    alone = picks.best(replace(shelf, sources=None), [gardener], at=NOON)
    assert best.ad.shape == alone.ad.shape


def test_a_fit_whose_files_are_gone_lets_the_transformer_retrieve_alone(hot: Any) -> None:
    lived(visitors=12, impressions=600)
    fit = engine_trials.refresh(at=NOON)
    EngineFit.objects.filter(pk=fit.pk).update(is_used=True)
    (engines.folder_of(fit) / engines.ITEMS).write_text("[]")
    assert engines.serving(embeddings.encoder().id) is None


def test_only_three_folders_of_fits_stay(hot: Any) -> None:
    lived(visitors=12, impressions=300)
    fits = [engine_trials.refresh(at=NOON + timedelta(days=number)) for number in range(4)]
    assert not engines.folder_of(fits[0]).exists()
    assert EngineFit.objects.count() == 4


# --- beliefs ------------------------------------------------------------------------------------------------------


def test_how_sure_predictions_are_goes_from_the_nightly_job_into_the_snapshot(
    hot: Any, tmp_path: Any
) -> None:
    world = lived(visitors=12, impressions=300)
    assert beliefs.learn(at=NOON).words.startswith("Not learned: ")
    assert beliefs.serving().strength == 100.0
    BeliefFit.objects.create(
        fitted_at=NOON + timedelta(days=1),
        rows=9,
        clicks=900,
        strength=500.0,
        gain=1.0,
        gain_error=0.1,
        is_kept=True,
    )
    write_models(
        tmp_path,
        creatives=[CreativeText(one.pk, one.text) for one in world.creatives],
        sites=[SiteText(one.site_id, "a site") for one in world.slots[:1]],
    )
    assert Models.load(tmp_path).belief.strength == 500.0


def test_trials_know_only_what_was_shown_on_earlier_days(hot: Any) -> None:
    world = market(visitors=2)
    one, other = world.creatives[:2]
    for day, creative, times in ((5, one, 3), (4, one, 2), (4, other, 1), (3, one, 4)):
        for number in range(times):
            at = NOON - timedelta(days=day, minutes=number)
            decision = _decision(creative, world.slots[0], at, "")
            decision.pctr = 0.1
            decision.save(force_insert=True)
            _event(Impression, decision, at).save(force_insert=True)
    trials = beliefs.read(until=NOON)
    assert list(zip(trials.impressions.tolist(), trials.seen.tolist(), strict=True)) == [
        (3, 0), (2, 3), (1, 0), (4, 5)
    ]  # fmt: skip
