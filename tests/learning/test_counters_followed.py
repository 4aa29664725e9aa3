"""A serving process follows the counters by what changed, and knows at any time what reading all of them would tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import timedelta
from itertools import count
from typing import Any

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adplatform.decision.candidates import CandidateSet
from adplatform.decision.shortlist import Shortlist
from adplatform.events.facts import Fact
from adplatform.learning import live
from adplatform.learning.served import STEP, Models, Projected
from adplatform.learning.statistics import CHANGES_KEY, LAYOUT_KEY, LiveStatistics, View
from tests.factories import NOON
from tests.learning.world import World, market, show

DAY = timedelta(days=1)
DECISIONS = count(1)
# Which ad in which slot, whether it was clicked, how many days later: an epoch is 96 days, and events come late.
EVENTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans(), st.sampled_from([0, 1, 40, 97, 200])),
    min_size=1,
    max_size=6,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), EVENTS),
        st.tuples(st.just("count"), EVENTS),
        st.tuples(st.sampled_from(["follow", "forget some changes", "rebuild", "lose all"]), st.just([])),
        st.tuples(st.just("restart while others count"), EVENTS),
    ),
    max_size=12,
)


def facts_of(world: World, events: Sequence[tuple[int, int, bool, int]]) -> list[Fact]:
    made = []
    for ad, slot, is_clicked, days in events:
        creative, at = world.creatives[ad], NOON + days * DAY
        number = f"{next(DECISIONS):032x}"
        for kind in ("impression", "click") if is_clicked else ("impression",):
            ids = (creative.pk, creative.line_item_id, world.slots[slot].pk)
            made.append(Fact(kind, number, at, at + timedelta(seconds=3 * (kind == "click")), *ids, ""))
    return made


class Meanwhile:
    """A connection whose reader is slow: something happens before it reads the first hash."""

    def __init__(self, hot: Any, happens: Callable[[], None]) -> None:
        self._hot, self._happens = hot, [happens]

    def hscan(self, *args: Any, **named: Any) -> Any:
        while self._happens:
            self._happens.pop()()
        return self._hot.hscan(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hot, name)


def untrained() -> Models:
    nothing = Projected(np.empty(0, np.int64), np.zeros((1, 8), np.float32))
    versions = {"encoder": "none", "matcher": "none", "blender": "none"}
    given = {"versions": versions, "bias": 0.0, "text_weight": 1.0}
    return Models(creatives=nothing, sites=nothing, blender=None, settings=given)


def assert_same(followed: View, whole: View) -> None:
    for part in fields(View):
        one, other = getattr(followed, part.name), getattr(whole, part.name)
        if part.name in ("overall", "until"):
            assert one == other, part.name
            continue
        assert (one.ids.tolist(), one.epoch) == (other.ids.tolist(), other.epoch), part.name
        assert one.table.tolist() == other.table.tolist(), part.name  # to the last bit


def assert_prepared(models: Models, view: View, fixed: CandidateSet) -> None:
    """What was computed from the view before and the changes is what is computed from nothing."""
    made, anew = models.counts(view, fixed), untrained().counts(view, fixed)
    assert made.ads.tolist() == anew.ads.tolist()
    assert made.overall_rate == anew.overall_rate
    assert made.impressions.tolist() == anew.impressions.tolist()
    rows = np.array([4, 0])
    for name, table in made.by_level(rows).items():
        assert table.tolist() == getattr(view, name).at(made.aligned.ids[name][rows]).tolist()
    np.testing.assert_allclose(made.standing, anew.standing, atol=2 * STEP)
    assert made.shortlist.base.tolist() == Shortlist(fixed, made.standing).base.tolist()


@pytest.mark.django_db
def test_whatever_happens_the_followed_view_is_that_of_a_full_reading(hot: Any) -> None:
    world = market()
    show(world, impressions=20, since=NOON - DAY, until=NOON)
    fixed = CandidateSet(world.candidates())

    @settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(STEPS)
    def run(steps: list[tuple[str, list]]) -> None:
        hot.flushdb()
        live.rebuild(hot, NOON - 9 * DAY)
        following, models = LiveStatistics(), untrained()
        for step, events in [*steps, ("follow", [])]:
            facts = facts_of(world, events)
            if step == "count":
                live.apply(hot, facts)
            elif step == "forget some changes":
                hot.xtrim(CHANGES_KEY, maxlen=1, approximate=False)
            elif step == "rebuild":
                live.rebuild(hot, NOON + DAY)
            elif step == "lose all":
                hot.flushdb()
            elif step == "restart while others count":
                following = LiveStatistics()
                view = following.read(Meanwhile(hot, lambda facts=facts: live.apply(hot, facts)))
                assert_same(view, LiveStatistics().read(hot))
            elif hot.exists(LAYOUT_KEY):
                view = following.read(hot)
                assert_same(view, LiveStatistics().read(hot))
                assert_prepared(models, view, fixed)

    run()


@pytest.mark.django_db
def test_until_lost_counters_are_recomputed_what_was_known_serves_on(hot: Any) -> None:
    world, following = market(), LiveStatistics()
    show(world, impressions=20, since=NOON - DAY, until=NOON)
    live.rebuild(hot, NOON + DAY)
    live.note_until(hot, NOON)
    known = following.read(hot)
    hot.flushdb()
    assert following.read(hot) is known
    assert live.prepare(hot, NOON + DAY)
    live.note_until(hot, NOON + DAY)
    recomputed = following.read(hot)
    assert_same(recomputed, LiveStatistics().read(hot))
    assert (recomputed.overall, recomputed.until) == (known.overall, (NOON + DAY).timestamp())


@pytest.mark.django_db
def test_a_request_keeps_the_view_that_it_began_with(hot: Any) -> None:
    world = market()
    following = LiveStatistics()
    live.apply(hot, facts_of(world, [(0, 0, False, 0)]))
    before = following.read(hot)
    live.apply(hot, facts_of(world, [(0, 0, True, 0), (5, 1, False, 0)]))
    after = following.read(hot)
    creative = world.creatives[0].pk
    assert (before.creative.of(creative)[:2], after.creative.of(creative)[:2]) == ([1.0, 0.0], [2.0, 1.0])
    assert (before.overall[0], after.overall[0]) == (1.0, 3.0)


@pytest.mark.django_db
def test_where_nothing_happened_nothing_is_computed_anew(hot: Any) -> None:
    world, models, following = market(), untrained(), LiveStatistics()
    fixed = CandidateSet(world.candidates())
    live.apply(hot, facts_of(world, [(0, 0, False, 0)]))
    first = following.read(hot)
    assert following.read(hot) is first
    live.note_until(hot, NOON)
    second = following.read(hot)
    assert (second is first, second.until, second.creative is first.creative) == (
        False,
        NOON.timestamp(),
        True,
    )
    assert models.counts(second, fixed).ads is models.counts(second, fixed).ads
    assert models.counts(first, fixed).ads is models.counts(second, fixed).ads


@pytest.mark.django_db
def test_few_impressions_more_move_no_ad_in_the_shortlist(hot: Any) -> None:
    world, models, following = market(), untrained(), LiveStatistics()
    fixed = CandidateSet(world.candidates())
    live.apply(hot, facts_of(world, [(0, 0, False, 0)] * 400))
    before = models.counts(following.read(hot), fixed)
    live.apply(hot, facts_of(world, [(0, 0, False, 0)]))
    after = models.counts(following.read(hot), fixed)
    assert (after.impressions[0], after.shortlist is before.shortlist) == (401.0, True)
    live.apply(hot, facts_of(world, [(0, 0, True, 0)] * 9))
    moved = models.counts(following.read(hot), fixed)
    assert moved.standing[0] > after.standing[0]
    assert moved.shortlist is not before.shortlist


@pytest.mark.django_db(transaction=True)
def test_processes_that_count_at_once_lose_nothing(hot: Any) -> None:
    world = market()
    show(world, impressions=240, since=NOON - DAY, until=NOON)

    def ingest(facts: Sequence[Fact]) -> None:
        try:
            for start in range(0, len(facts), 5):
                live.apply(hot, facts[start : start + 5])
        finally:
            connection.close()

    threads = [threading.Thread(target=ingest, args=(world.facts[part::3],)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clicks = sum(fact.kind == "click" for fact in world.facts)
    view = LiveStatistics().read(hot)
    assert view.overall[:2] == (240.0, clicks)
    assert view.creative.table[:2].sum(axis=1).tolist() == [240.0, clicks]
    visitors = [hot.hget(key, "n") for key in hot.keys("visitor:*")]
    assert sum(map(int, visitors)) == sum(
        fact.kind == "impression" and fact.visitor != "" for fact in world.facts
    )
