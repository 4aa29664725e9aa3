"""One definition of a number: counted live from the stream, or replayed from PostgreSQL, it is the same."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from adplatform.learning import export, live
from adplatform.learning.statistics import LiveStatistics
from ml.ctr.counters import Statistics
from ml.ctr.replay import replay
from tests import factories
from tests.factories import NOON
from tests.learning.world import World, market, show

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def busy_day() -> World:
    world = market()
    show(world, impressions=600, since=NOON - DAY, until=NOON)
    return world


def numbers(hot: Any) -> dict[str, dict[bytes, float]]:
    keys = [key for key in hot.keys("*") if key.startswith((b"stat:", b"visitor:"))]
    return {
        key: {name: float(value) for name, value in hot.hgetall(key).items() if name not in (b"u", b"m")}
        for key in keys
    }


def test_the_stream_and_the_replay_count_alike(hot: Any) -> None:
    world = busy_day()
    moved = random.Random(3)
    facts, batches = list(world.facts), []
    while facts:
        size = moved.randint(1, 40)
        batches.append(facts[:size])
        facts = facts[size:]
    for batch in batches:
        moved.shuffle(batch)  # within a batch the order does not matter
        live.apply(hot, batch)
    streamed = numbers(hot)
    hot.flushdb()
    live.rebuild(hot, NOON + DAY)
    rebuilt = numbers(hot)
    assert streamed.keys() == rebuilt.keys()
    for key, fields in streamed.items():
        assert fields.keys() - {b"c", b"e"} == rebuilt[key].keys() - {b"c", b"e"}
        for name, value in fields.items():
            assert value == pytest.approx(rebuilt[key][name], abs=1e-9), (key, name)


def test_live_view_equals_the_training_statistics(hot: Any) -> None:
    world = busy_day()
    live.apply(hot, world.facts)
    statistics = Statistics()
    replay(export.training_log(until=NOON + DAY).log, statistics=statistics)
    view = LiveStatistics()
    view.refresh(hot)
    assert list(view.view.overall) == statistics.overall
    for entity in ("creative", "line_item", "slot"):
        counts, known = getattr(view.view, entity), getattr(statistics, entity)
        impressions, clicks = counts.at(np.array(sorted(known)))
        assert [list(pair) for pair in zip(impressions, clicks, strict=True)] == [
            known[key] for key in sorted(known)
        ]
    assert view.view.creative.at(np.array([999_999]))[0].tolist() == [0.0]


def test_views_and_nothing_leave_no_trace(hot: Any) -> None:
    live.apply(hot, [])
    assert hot.keys("*") == []


def test_a_visitor_expires_and_a_rebuild_forgets_who_is_unknown(hot: Any) -> None:
    world = busy_day()
    live.apply(hot, world.facts)
    key = f"visitor:{next(fact.visitor for fact in world.facts if fact.visitor)}"
    assert 0 < hot.ttl(key) <= 90 * 86_400
    hot.hset("visitor:ghost", "n", 5)
    hot.hset("cap:ghost", "creative:1:60:0", 5)
    live.rebuild(hot, NOON - 2 * DAY)
    assert sorted(hot.keys("*")) == [b"cap:ghost"]


def test_events_that_do_not_count_teach_nothing() -> None:
    busy_day()
    factories.impression(factories.decision(served_at=NOON), is_billable=False, reason="bot")
    unpaid = factories.impression(
        factories.decision(served_at=NOON), is_billable=False, reason="budget_spent"
    )
    log = export.training_log(until=NOON + DAY).log
    assert len(log) == 601
    assert log.creative[-1] == unpaid.creative_id


def test_who_withdrew_consent_is_nobody_in_the_log() -> None:
    from adplatform.audience.models import Consent

    world = busy_day()
    person = world.visitors[0]
    assert person.pseudonym in export.training_log(until=NOON + DAY).log.visitor
    Consent.objects.create(visitor=person, is_granted=False, source="gpc", at=NOON)
    later = export.training_log(until=NOON + DAY).log
    assert person.pseudonym not in later.visitor
    assert len(later) == 600
    assert person.pseudonym not in export.acts(until=NOON + DAY).names
