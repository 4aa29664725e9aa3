"""What is found invalid later leaves the live counters, exactly as a replay of the facts has it, and training's table too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from adplatform.events import backfilter
from adplatform.events.models import Click, Impression, Invalidation
from adplatform.learning import export, live
from adplatform.learning.statistics import ENTITIES, LiveStatistics, View, frequencies, of_visitor
from adplatform.serving import pipeline
from ml.ctr import features
from ml.ctr.counters import ADS, Keys, Raw, Statistics
from ml.ctr.replay import replay
from ml.schema import CONTEXT
from tests.factories import NOON
from tests.learning.test_live_statistics import numbers
from tests.learning.world import World, market, show

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
TOMORROW = NOON + DAY


def of(world: World, kind: str, every: int) -> list[str]:
    return [fact.decision_id for fact in world.facts if fact.kind == kind][::every]


def find(*events: tuple[str, str], at: Any = NOON) -> None:
    backfilter.invalidate(dict.fromkeys(events, "repeated"), at=at)


def two_days(hot: Any) -> World:
    """A day; some of it is found invalid at its end; another day, at whose end some more is."""
    world = market()
    show(world, impressions=400, since=NOON - DAY, until=NOON, seed=1)
    live.apply(hot, world.facts)
    clicks, shown = of(world, "click", 3), of(world, "impression", 40)
    find(*(("click", one) for one in clicks), *(("impression", one) for one in shown))
    assert live.withdraw(hot) == Invalidation.objects.count()
    world.facts = []
    show(world, impressions=400, since=NOON, until=TOMORROW, seed=2)
    live.apply(hot, world.facts)
    find(*(("click", one) for one in of(world, "click", 4)), at=TOMORROW)
    live.withdraw(hot)
    return world


def test_the_counters_equal_the_recount(hot: Any) -> None:
    two_days(hot)
    streamed = numbers(hot)
    live.rebuild(hot, TOMORROW + DAY)
    rebuilt = numbers(hot)
    assert streamed.keys() == rebuilt.keys()
    for key, fields in streamed.items():
        for name in fields.keys() | rebuilt[key].keys():
            wanted = pytest.approx(rebuilt[key].get(name, 0.0), rel=1e-9, abs=1e-9)
            assert fields.get(name, 0.0) == wanted, (key, name)
    assert live.withdraw(hot) == 0  # a recount knows of all findings
    overall = LiveStatistics().read(hot).overall
    valid = [
        model.objects.exclude(decision_id__in=Invalidation.objects.values("decision_id")).count()
        for model in (Impression, Click)
    ]
    assert overall[1] == valid[1]
    assert overall[0] == Impression.objects.count() - Invalidation.objects.filter(kind="impression").count()
    assert Invalidation.objects.filter(kind="click").count() > 20


def matrix(rows: list[dict[str, float]]) -> Any:
    """Features of rows of raw numbers, without context and text."""
    unknown = dict.fromkeys((*CONTEXT, "text_score"), float("nan"))
    return features.build(
        {name: np.array([(unknown | row)[name] for row in rows]) for name in unknown | rows[0]}
    )


def test_requests_see_what_training_sees(hot: Any) -> None:
    world = two_days(hot)
    trained, now = Statistics(), (TOMORROW + DAY).timestamp()
    replay(export.training_log(until=TOMORROW + DAY).log, statistics=trained)
    view = LiveStatistics().read(hot)
    known, served = [], []
    for creative in world.creatives:
        item, campaign = creative.line_item, creative.line_item.campaign
        for person, slot in zip(world.visitors, world.slots * 3, strict=True):
            keys = Keys(
                creative.pk,
                item.pk,
                campaign.pk,
                campaign.organisation_id,
                slot.pk,
                slot.site_id,
                person.pseudonym,
            )
            known.append(trained.raw(keys, now)._asdict())
            fields = hot.hgetall(f"visitor:{person.pseudonym}")
            served.append(of_counts(view, keys, now) | of_visitor(fields, now))
            served[-1]["frequency"] = frequencies(fields).get(item.pk, 0.0)
    assert served[0].keys() == known[0].keys()
    np.testing.assert_allclose(matrix(served), matrix(known), rtol=1e-6)


def of_counts(view: View, keys: Keys, now: float) -> dict[str, float]:
    """What a request reads of the counters for these keys, by the names of Raw."""
    names = ("global_impressions", "global_clicks", "global_expected")
    found = dict(zip(names, view.overall, strict=True))
    for entity in ENTITIES:
        counts = getattr(view, entity)
        third = "exposure" if entity in ADS else "expected"
        row = counts.of(getattr(keys, entity))
        faded = [number * counts.fading(now) for number in row[3:]]
        parts = ("impressions", "clicks", third, "recent_clicks", "recent_exposure")
        found |= {f"{entity}_{part}": n for part, n in zip(parts, [*row[:3], *faded], strict=True)}
    return {name: found[name] for name in Raw._fields if name in found}


def test_training_learns_nothing_of_them_and_sees_what_requests_saw() -> None:
    world = market()
    show(world, impressions=400, since=NOON - DAY, until=NOON, seed=1)
    clicks = of(world, "click", 2)
    show(world, impressions=200, since=NOON, until=TOMORROW, seed=2)
    before = export.training_log(until=TOMORROW).log
    find(*(("click", one) for one in clicks), at=NOON + DAY / 2)
    after = export.training_log(until=TOMORROW).log
    assert after.clicked.sum() == before.clicked.sum() - len(clicks)
    seen, now = (replay(log)["global_clicks"] for log in (before, after))
    early = after.time <= (NOON + DAY / 2).timestamp()
    np.testing.assert_array_equal(now[early], seen[early])
    np.testing.assert_array_equal(now[~early], seen[~early] - len(clicks))


def test_each_finding_is_taken_out_once_whatever_dies_or_is_restored(hot: Any, monkeypatch: Any) -> None:
    world = market()
    show(world, impressions=400, since=NOON - DAY, until=NOON, seed=1)
    live.apply(hot, world.facts)
    saved = {key: hot.dump(key) for key in hot.keys("counts:*") + hot.keys("visitor:*")}
    monkeypatch.setattr(live, "TRANSACTION", 5)
    clicks = of(world, "click", 2)
    find(*(("click", one) for one in clicks))
    assert live.withdraw(hot) == len(clicks) > 10
    once = numbers(hot)
    assert live.withdraw(hot) == live.withdraw_when_due(hot) == 0
    find(("impression", clicks[0]), at=NOON + DAY)  # its click is out already
    assert live.withdraw(hot) == 1
    assert numbers(hot)[b"counts:all"][b"0", 1] == once[b"counts:all"][b"0", 1]
    assert numbers(hot)[b"counts:all"][b"0", 0] == once[b"counts:all"][b"0", 0] - 1
    hot.flushdb()  # restored as it was before all of it
    for key, value in saved.items():
        hot.restore(key, 0, value)
    assert live.withdraw_when_due(hot) == len(clicks) + 1
    assert numbers(hot)[b"counts:all"][b"0", 1] == once[b"counts:all"][b"0", 1]


def test_ingest_takes_out_what_was_found_once_it_has_read_everything(hot: Any, events: Any) -> None:
    world = market()
    show(world, impressions=100, since=NOON - DAY, until=NOON, seed=1)
    live.apply(hot, world.facts)
    before = LiveStatistics().read(hot).overall
    clicks = of(world, "click", 1)
    find(*(("click", one) for one in clicks))
    pipeline.drain_all(events, hot)
    assert LiveStatistics().read(hot).overall[:2] == (before[0], before[1] - len(clicks))


def test_what_was_never_counted_takes_nothing_away(hot: Any) -> None:
    world = market()
    show(world, impressions=50, since=NOON - DAY, until=NOON, seed=1)
    find(
        *(("click", one) for one in of(world, "click", 1)),
        *(("impression", one) for one in of(world, "impression", 5)),
    )
    live.withdraw(hot)
    assert LiveStatistics().read(hot).overall == (0.0, 0.0, 0.0)
    assert hot.keys("visitor:*") == []
