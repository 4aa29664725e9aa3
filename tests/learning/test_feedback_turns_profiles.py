"""What a visitor does not want turns his profile away from it: ads about the same things score lower afterwards."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from adplatform.events.models import Feedback
from adplatform.learning import embeddings, export, history, profiles
from adplatform.learning.models import VisitorVector
from tests.factories import NOON
from tests.learning.world import World, market

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def world(hot: Any) -> World:
    world = market(visitors=3)
    profiles.embed_creatives(NOON)
    profiles.embed_visitors(NOON)
    return world


def say(
    world: World, *, turn: int = 0, is_given: bool = True, kind: str = "not_interested", **fields: Any
) -> None:
    """The gardener says it of the first garden ad."""
    creative, slot = world.creatives[0], world.slots[0]
    Feedback.objects.create(
        decision_id=fields.pop("decision_id", uuid.uuid4()),
        kind=kind,
        turn=turn,
        is_given=is_given,
        served_at=NOON,
        occurred_at=fields.pop("at", NOON + HOUR),
        slot_id=slot.pk,
        publisher_id=slot.site.publisher_id,
        advertiser_id=creative.line_item.campaign.organisation_id,
        campaign_id=creative.line_item.campaign_id,
        line_item_id=creative.line_item_id,
        creative_id=creative.pk,
        visitor=world.visitors[0].pseudonym,
    )


def liking(world: World, place: int) -> float:
    """Cosine of the gardener's profile with the ad at this place."""
    stored = VisitorVector.objects.get(visitor=world.visitors[0].pseudonym)
    profile = embeddings.unpack([stored.vector])[0]
    ad = embeddings.cached(embeddings.encoder().id, [world.creatives[place].text])[0]
    return float(profile @ ad)


def test_more_like_this_raises_the_score_of_ads_like_it_until_it_is_taken_back(world: World) -> None:
    before = liking(world, 1)
    pressed = uuid.uuid4()
    say(world, kind="more_like_this", decision_id=pressed)
    profiles.embed_visitors(NOON + 2 * HOUR)
    after = liking(world, 1)
    assert after > before
    say(world, kind="more_like_this", decision_id=pressed, turn=1, is_given=False, at=NOON + HOUR * 1.5)
    profiles.embed_visitors(NOON + 2 * HOUR)
    assert liking(world, 1) < after


def test_not_interested_lowers_the_score_of_ads_like_it(world: World) -> None:
    same, alike, other = liking(world, 0), liking(world, 1), liking(world, 2)
    say(world)
    assert profiles.embed_visitors(NOON + 2 * HOUR).updated == 1
    assert liking(world, 0) < same - 0.1
    assert liking(world, 1) < alike - 0.05
    assert abs(liking(world, 2) - other) < 0.15


def test_taken_back_it_is_as_before(world: World) -> None:
    before = liking(world, 0)
    decision = uuid.uuid4()
    say(world, decision_id=decision)
    say(world, decision_id=decision, turn=1, is_given=False, at=NOON + HOUR + timedelta(seconds=5))
    profiles.embed_visitors(NOON + 2 * HOUR)
    assert liking(world, 0) == pytest.approx(before, abs=2e-3)


def test_seen_too_often_says_nothing_of_the_topic(world: World) -> None:
    say(world, kind="seen_too_often")
    assert profiles.embed_visitors(NOON + 2 * HOUR).updated == 0


def test_training_sees_it_from_its_moment_on_and_not_before(world: World) -> None:
    say(world)
    done = export.acts(until=NOON + 2 * HOUR)
    who = done.codes(np.array([world.visitors[0].pseudonym] * 2))
    before, after = history.states_before(
        done.trace, who, np.array([NOON.timestamp(), (NOON + 2 * HOUR).timestamp()])
    )
    assert done.trace.weight is not None
    assert (done.trace.weight[before], done.trace.weight[after]) == (1.0, -1.0)
    assert export.acts(until=NOON + HOUR).trace.weight.min() == 1.0
