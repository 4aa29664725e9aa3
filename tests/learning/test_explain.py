"""Why an ad was shown: exactly what the blender saw then, in words; what visitors did is theirs or everybody's."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from adplatform.audience.models import Behaviour, Consent
from adplatform.decision.engine import decide
from adplatform.decision.types import AdRequest, Placement, Seen
from adplatform.events.models import AdDecision
from adplatform.learning import explain, influence, live, profiles, publish, registry, words
from adplatform.learning.models import Influence
from adplatform.learning.registry import Kind
from adplatform.learning.scorer import RequestScorer
from adplatform.learning.served import Models
from adplatform.learning.statistics import LiveStatistics
from ml import artifacts
from ml.ctr import compile as compiler
from ml.ctr.blender import train_blender
from ml.ctr.calibration import Calibration
from ml.ctr.explain import logit
from ml.ctr.features import NAMES, SCHEMA
from ml.text.matcher import Matcher
from tests import factories
from tests.factories import NOON
from tests.learning.world import World, decision_slot, market, show

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SPAN = ("2026-06-01T00:00:00+00:00", "2026-06-15T00:00:00+00:00")


@pytest.fixture
def world(settings: Any, tmp_path: Path, hot: Any) -> World:
    """A published market whose readers click on their topic, with a matcher and trees that know it."""
    settings.MODELS_DIR = tmp_path / "models"
    explain._blender.cache_clear()
    world = market(visitors=60)
    show(world, impressions=1_500, since=NOON - 5 * DAY, until=NOON)
    profiles.embed_creatives(NOON)
    live.rebuild(hot, NOON)
    profiles.embed_visitors(NOON)
    promote_models()
    publish.write_models(
        tmp_path / "snapshot",
        creatives=[publish.CreativeText(one.pk, one.text) for one in world.creatives],
        sites=[publish.SiteText(slot.site_id, publish.site_text(slot.site)) for slot in world.slots],
    )
    return world


def promote_models() -> None:
    """A matcher that likes likeness, and trees over the text score, the ad's record and how often it was seen."""
    draft, encoder = registry.draft_folder(Kind.MATCHER), registry.serving_encoder()
    Matcher(8 * np.eye(384, dtype=np.float32), -4.0).save(
        draft, encoder_id=encoder, metrics={}, seed=0, data_range=SPAN
    )
    matcher = registry.register(
        kind=Kind.MATCHER, draft=draft, at=NOON, run=None, encoder=encoder, metrics={}
    )
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3_000, len(NAMES))).astype(np.float32)
    X[:, 0] = rng.uniform(-6, 4, len(X))
    log_odds = 0.5 * X[:, 0] + X[:, NAMES.index("creative_ctr")] - X[:, NAMES.index("frequency_log")] - 1
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-log_odds))).astype(np.float64)
    blender = train_blender(X, y, time_order=np.arange(len(X)), most_trees=40)
    draft = registry.draft_folder(Kind.BLENDER)
    files = [
        blender.save(draft),
        compiler.compile_blender(blender, draft),
        Calibration("level", (np.log(1.3),)).save(draft),
    ]
    artifacts.write(draft, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=0, data_range=SPAN)
    trees = registry.register(kind=Kind.BLENDER, draft=draft, at=NOON, run=None, encoder="", metrics={})
    for version in (matcher, trees):
        registry.promote(version, at=NOON)


@pytest.fixture
def shown(world: World, hot: Any, tmp_path: Path) -> Any:
    """Decides for the visitor of this number, and stores the decision as serving and ingest do."""
    models, statistics = Models.load(tmp_path / "snapshot"), LiveStatistics()
    statistics.refresh(hot)
    slot = decision_slot(world.slots[0])

    def act(number: int | None, *, at: Any = NOON) -> AdDecision:
        visitor = None if number is None else world.visitors[number % len(world.visitors)].pseudonym
        request = AdRequest(
            request_id="r", at=at, placements=(Placement("p", slot),), visitor=visitor, device="mobile"
        )
        known = hot.hgetall(f"visitor:{visitor}") if visitor else {}
        scorer = RequestScorer(models, known, statistics.view)
        decided = decide(
            request=request,
            candidates=world.candidates(),
            seen=Seen(),
            scorer=scorer,
            rng=Random(number or 0),
        )
        (pick,) = decided.picks
        return AdDecision.objects.create(
            decision_id=uuid.uuid4(),
            request_id=uuid.uuid4(),
            served_at=at,
            slot_id=slot.id,
            site_id=slot.site_id,
            publisher_id=slot.publisher_id,
            advertiser_id=pick.candidate.advertiser_id,
            campaign_id=pick.candidate.campaign_id,
            line_item_id=pick.candidate.line_item_id,
            creative_id=pick.candidate.creative_id,
            mode=scorer.mode,
            visitor=visitor or "",
            currency="USD",
            bid_micros=pick.bid_micros,
            price_micros=pick.price_micros,
            runner_up_micros=pick.runner_up_micros,
            explored=pick.explored,
            pctr=pick.pctr,
            candidates=len(world.creatives),
            versions=dict(scorer.versions),
            features=scorer.features_of(slot, pick.row),
        )

    return act


def test_a_stored_decision_is_explained_to_the_last_digit(shown: Any) -> None:
    for number in (0, 1, 2, None):
        found = AdDecision.objects.get(pk=shown(number).pk)
        told = explain.explained(found)
        assert told.is_exact
        total = told.base + sum(told.groups.values()) + told.level
        assert total == pytest.approx(float(logit(np.array([found.pctr]))[0]), abs=1e-6)
        assert set(told.features) == set(NAMES)
        assert sum(added for _, added in told.features.values()) == pytest.approx(sum(told.groups.values()))
        assert told.impressions is not None
        assert told.impressions > 100
    assert told.level == pytest.approx(np.log(1.3), abs=1e-6)


def test_the_visitor_is_told_what_he_read_and_nobody_else_is(world: World, shown: Any) -> None:
    found = next(one for one in map(shown, range(0, 60, 3)) if one.creative_id in _ads(world, "garden"))
    mine = words.for_visitor(explain.explained(found, nearest=True))
    assert mine[0].text.startswith("It is about what you did before: you ")
    assert "Pruning roses in spring" in mine[0].text or "tomatoes" in mine[0].text or "lawn" in mine[0].text
    theirs = words.for_advertiser(explain.explained(found))
    said = " ".join(reason.text for reason in theirs)
    assert not any(text in said for text in Behaviour.objects.values_list("text", flat=True))
    assert "per 1,000 impressions" in theirs[-1].text


def _ads(world: World, topic: str) -> set[int]:
    first = {"garden": 0, "cars": 2, "cooking": 4}[topic]
    return {one.pk for one in world.creatives[first : first + 2]}


def test_a_withdrawn_consent_silences_what_was_read(world: World, shown: Any) -> None:
    found = next(one for one in map(shown, range(0, 60, 3)) if one.creative_id in _ads(world, "garden"))
    assert explain.nearest_acts(found)
    visitor = next(one for one in world.visitors if one.pseudonym == found.visitor)
    Consent.objects.create(visitor=visitor, is_granted=False, source="gpc", at=NOON + DAY)
    assert explain.nearest_acts(found) == []


def test_without_a_visitor_nothing_is_said_about_one(shown: Any) -> None:
    told = explain.explained(shown(None), nearest=True)
    assert (told.nearest, told.times_seen) == ([], None)
    reasons = words.for_visitor(told)
    assert reasons[0].text.endswith("Nothing about you was used.")
    assert {reason.group for reason in reasons}.isdisjoint({"history", "fatigue"})


def test_a_decision_that_kept_nothing_is_not_explained_by_guesses(world: World) -> None:
    told = explain.explained(factories.decision(world.creatives[0], world.slots[0], served_at=NOON))
    assert not told.is_exact
    assert all(reason.strength == "" for reason in words.for_visitor(told))
    assert [reason.group for reason in words.for_advertiser(told)] == ["auction"]


def test_only_ads_that_no_rule_kept_out_could_stand_there(world: World, shown: Any) -> None:
    found = shown(None)
    found.explored, found.factor, found.runner_up_micros = False, 1.0, 1
    found.candidates = 1_200
    found.refused = {"wrong_format": 900, "wrong_country": 50, "not_retrieved": 200, "outbid": 49}
    reasons = words.for_visitor(explain.explained(found))
    assert reasons[-1].text.startswith("250 ads could stand here.")


def test_an_advertiser_is_told_means_over_many_and_topics_of_many(world: World, shown: Any) -> None:
    for number in range(180):
        shown(number, at=NOON - timedelta(minutes=number))
    done = influence.compute(at=NOON + DAY)
    assert done.told >= 1
    told = Influence.objects.order_by("-decisions").first()
    assert told.decisions >= influence.FEWEST_DECISIONS
    assert set(told.groups) == set(explain.GROUPS)
    assert told.topics == []  # at most 20 readers share a topic here: too few to be told of
    influence.compute(at=NOON + DAY)
    assert Influence.objects.filter(line_item_id=told.line_item_id).count() == 1


def test_topics_are_told_from_fifty_visitors_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    garden = [person for person, topic in zip(world.visitors, world.topics, strict=True) if topic == "garden"]
    seen = [
        factories.decision(world.creatives[0], world.slots[0], served_at=NOON, visitor=person.pseudonym)
        for person in garden
    ]
    monkeypatch.setattr(influence, "FEWEST_VISITORS", len(garden))
    told = influence.topics(seen, at=NOON)
    assert told
    assert all(count == len(garden) for _, count in told)
    monkeypatch.setattr(influence, "FEWEST_VISITORS", len(garden) + 1)
    assert influence.topics(seen, at=NOON) == []


def test_words_of_pages_are_told_from_fifty_impressions_on(world: World) -> None:
    many, few = influence.FEWEST_DECISIONS, influence.FEWEST_DECISIONS - 1
    shown = [
        factories.decision(world.creatives[0], world.slots[0], keywords=said)
        for said in ["Garden", "garden, roses"] * (many // 2) + ["lawn"] * few + [""]
    ]
    for number, one in enumerate(shown):
        factories.impression(one)
        if number < 3:
            factories.click(one, reason="bot" if number == 0 else "", is_billable=number != 0)
    factories.decision(world.creatives[0], world.slots[0], keywords="garden")  # it never began to render
    assert influence.page_words(shown) == [("garden", many, 2)]


def test_no_trees_no_influence(db: None) -> None:
    assert registry.champion(registry.Kind.BLENDER) is None
    assert influence.compute(at=NOON) == influence.Computed(0, 0)
