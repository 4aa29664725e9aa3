"""One definition of a number: counted live from the stream, or replayed from PostgreSQL, it is the same."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from adplatform.learning import export, live
from adplatform.learning.statistics import (
    ENTITIES,
    EPOCH_SECONDS,
    REMEMBERED,
    LiveStatistics,
    epoch_of,
    of_visitor,
    rows_from,
)
from ml.ctr.counters import Keys, Statistics
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
    """All live numbers by key and name; rows of counters as of their epoch."""
    found: dict[str, dict[bytes, float]] = {}
    for key in hot.keys("*"):
        if hot.type(key) == b"hash" and key.startswith(b"counts:"):
            rows = {name: rows_from(row)[0].tolist() for name, row in hot.hgetall(key).items()}
            found[key] = {(name, at): number for name, row in rows.items() for at, number in enumerate(row)}
        elif hot.type(key) == b"hash":
            fields = hot.hgetall(key).items()
            found[key] = {name: float(value) for name, value in fields if name not in (b"u", b"m")}
    return found


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
        assert fields.keys() == rebuilt[key].keys()
        for name, value in fields.items():
            assert value == pytest.approx(rebuilt[key][name], rel=1e-9, abs=1e-9), (key, name)


def test_live_view_equals_the_training_statistics(hot: Any) -> None:
    world = busy_day()
    live.apply(hot, world.facts)
    statistics = Statistics()
    replay(export.training_log(until=NOON + DAY).log, statistics=statistics)
    view = LiveStatistics()
    view.refresh(hot)
    assert view.view.overall == pytest.approx(statistics.overall)
    for entity in ENTITIES:
        counts, known = getattr(view.view, entity), getattr(statistics, entity)
        seen = counts.at(np.array(sorted(known)))
        np.testing.assert_allclose(seen[:3].T, [known[key] for key in sorted(known)])
    assert view.view.creative.at(np.array([999_999])).ravel().tolist() == [0.0] * 5


def test_recent_sums_go_on_over_the_end_of_an_epoch(hot: Any) -> None:
    # 600 impressions in the day before an epoch ends, as many in the day after it.
    start = datetime.fromtimestamp(epoch_of(NOON.timestamp()) * EPOCH_SECONDS, UTC)
    world = market()
    show(world, impressions=600, since=start - DAY, until=start, seed=1)
    live.apply(hot, world.facts)
    before, world.facts = len(world.facts), []
    show(world, impressions=600, since=start, until=start + DAY, seed=2)
    live.apply(hot, world.facts)
    assert before > 600
    log = export.training_log(until=start + 2 * DAY).log
    statistics = Statistics()
    replay(log, statistics=statistics)
    view = LiveStatistics()
    view.refresh(hot)
    now = (start + 2 * DAY).timestamp()
    for entity in REMEMBERED:
        counts = getattr(view.view, entity)
        ids = counts.ids.tolist()
        raw = [statistics.raw(Keys(**{"creative": None, entity: one}), now)._asdict() for one in ids]
        known = [[one[f"{entity}_recent_clicks"], one[f"{entity}_recent_exposure"]] for one in raw]
        np.testing.assert_allclose(counts.at(counts.ids)[3:].T * counts.fading(now), known, rtol=1e-9)
    someone = next(name for name in log.visitor if name)
    served = of_visitor(hot.hgetall(f"visitor:{someone}"), now)
    trained = statistics.raw(Keys(None, visitor=someone), now)._asdict()
    assert served == pytest.approx({name: trained[name] for name in served}, rel=1e-9)


def test_what_an_older_epoch_holds_is_dropped_from_a_visitor(hot: Any) -> None:
    world = busy_day()
    fact = next(fact for fact in world.facts if fact.visitor)
    key, epoch = f"visitor:{fact.visitor}", epoch_of(fact.served_at.timestamp())
    hot.hset(key, mapping={f"N{epoch - 2}": 4.0, f"N{epoch - 1}": 4.0})
    live.apply(hot, [fact])
    left = {name for name in hot.hkeys(key) if name.startswith(b"N")}
    assert left == {b"N%d" % (epoch - 1), b"N%d" % epoch}


def test_counters_of_another_layout_are_recomputed_before_anything_is_added(hot: Any) -> None:
    world = busy_day()
    live.apply(hot, world.facts)
    hot.set("counts:layout", 1)
    hot.hset("counts:creative", f"{world.creatives[0].pk}:i", 1_000_000)  # as they once lay there
    statistics = LiveStatistics()
    assert statistics.read(hot).overall == (0.0, 0.0, 0.0)
    assert live.prepare(hot, NOON + DAY)
    assert statistics.read(hot).overall[0] == 600
    assert not live.prepare(hot, NOON + DAY)


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
    left = [b"cap:ghost", b"counts:changes", b"counts:layout", b"counts:withdrawn"]
    assert sorted(hot.keys("*")) == left


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
