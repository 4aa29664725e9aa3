"""However facts arrive, final credits and sums are the same: any order, delivered twice, late, taken back, found invalid."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import redis
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adplatform.events import backfilter, credits
from adplatform.events.models import Credit, HourlyStat
from adplatform.events.records import Served
from adplatform.events.services import Change, Report, adjust_conversions, record_conversions
from tests import factories
from tests.events.streams import again, append, drain, event, served
from tests.factories import MICROS, NOON

DAY = timedelta(days=1)
SINCE, NIGHT = NOON - 40 * DAY, NOON + 2 * DAY
VISITORS = ("", "ab" * 16, "cd" * 16)
ACTIONS = ("Every", "Once")
REVERSED = -1

# Few moments, so that many are the same; the windows are 2 days after a click and 1 after a view.
moments = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5])


class Touched(NamedTuple):
    """A click or a view: which ad, whose, when, and how long before it was served."""

    kind: str
    ad: int
    visitor: int
    at: float
    served_before: float


class Converted(NamedTuple):
    """`names`: the click whose id the advertiser sends, by its place among the touches."""

    action: int
    visitor: int
    at: float
    micros: int
    names: int | None


class Changed(NamedTuple):
    conversion: int
    at: float
    micros: int | None


@dataclass(frozen=True)
class Drawn:
    """All that happened, and the seed of an order in which it is told; `again` is told twice."""

    touched: list[Touched]
    converted: list[Converted]
    changed: list[Changed]
    invalid: list[int]
    order: int
    again: list[int] = field(default_factory=list)


touches = st.builds(
    Touched,
    st.sampled_from(["click", "click", "view"]),
    st.integers(0, 2),
    st.integers(0, 2),
    moments,
    st.sampled_from([0.0, 0.3, 0.9]),
)
conversions = st.builds(
    Converted,
    st.integers(0, 1),
    st.integers(0, 2),
    moments,
    st.integers(0, 1_000),
    st.none() | st.integers(0, 5),
)
changes = st.builds(Changed, st.integers(0, 5), moments, st.none() | st.integers(0, 1_000))
worlds = st.builds(
    Drawn,
    st.lists(touches, min_size=1, max_size=7),
    st.lists(conversions, min_size=1, max_size=6),
    st.lists(changes, max_size=3),
    st.lists(st.integers(0, 6), max_size=2),
    st.integers(0, 2**32),
    st.lists(st.integers(0, 20), max_size=4),
)


class Shop:
    """An advertiser with three campaigns and two kinds of conversions: every one, and one per click."""

    def __init__(self, events: redis.Redis) -> None:
        self.events, self.owner = events, factories.organisation()
        for name, counting in zip(ACTIONS, ("every", "one"), strict=True):
            factories.conversion_action(
                self.owner, name=name, counting=counting, click_window_days=2, view_window_days=1
            )
        slot = factories.slot()
        self.ads = [
            served(factories.creative(factories.line_item(factories.campaign(self.owner))), slot)
            for _ in range(3)
        ]

    def served(self, number: int, one: Touched) -> Served:
        return again(
            self.ads[one.ad],
            decision_id=UUID(int=number + 1).bytes,
            visitor=bytes.fromhex(VISITORS[one.visitor]),
            served_at=NOON + (one.at - one.served_before) * DAY,
            expires_at=NOON + (one.at - one.served_before + 1) * DAY,
        )

    def steps(self, drawn: Drawn) -> list[tuple[str, Any]]:
        ads = [self.served(number, one) for number, one in enumerate(drawn.touched)]
        steps: list[tuple[str, Any]] = [
            ("event", event(one.kind, ad, after=one.served_before * 86_400))
            for one, ad in zip(drawn.touched, ads, strict=True)
        ]
        clicked = [ad for one, ad in zip(drawn.touched, ads, strict=True) if one.kind == "click"]
        for number, one in enumerate(drawn.converted):
            named = clicked[one.names] if one.names is not None and one.names < len(clicked) else None
            steps.append(("conversion", _report(number, one, named)))
        steps += [
            ("change", _change(number, one, drawn.converted[one.conversion]))
            for number, one in enumerate(drawn.changed)
            if one.conversion < len(drawn.converted)
        ]
        steps += [("invalid", ads[one].decision_id.hex()) for one in drawn.invalid if one < len(ads)]
        return steps

    def tell(self, steps: Sequence[tuple[str, Any]]) -> None:
        found: set[str] = set()
        for kind, group in groupby(steps, key=lambda step: step[0]):
            told = [what for _, what in group]
            if kind == "event":
                append(self.events, *told)
                drain(self.events)
            elif kind == "conversion":
                record_conversions(advertiser=self.owner, reports=told, at=NIGHT)
            elif kind == "change":
                adjust_conversions(advertiser=self.owner, changes=told, at=NIGHT)
            else:
                found.update(told)
            # What is not stored yet is found when it is.
            backfilter.invalidate({("click", one): "unseen" for one in found}, at=NIGHT)


def _report(number: int, one: Converted, named: Served | None) -> Report:
    return Report(
        event_id=f"order-{number}",
        action=ACTIONS[one.action],
        occurred_at=NOON + one.at * DAY,
        value_micros=one.micros,
        click=named,
        visitor=VISITORS[one.visitor],
    )


def _change(number: int, one: Changed, of: Converted) -> Change:
    return Change(
        event_id=f"order-{one.conversion}",
        action=ACTIONS[of.action],
        adjustment_id=f"change-{number}",
        occurred_at=NOON + one.at * DAY,
        value_micros=one.micros,
    )


def credited() -> list[tuple[Any, ...]]:
    rows = Credit.objects.order_by("conversion__event_id", "model", "decision_id")
    names = ("conversion__event_id", "model", "touch", "decision_id", "campaign_id", "hour", "share_ppm")
    return list(rows.values_list(*names, "value_micros"))


def counted() -> list[tuple[Any, ...]]:
    """Hours in which something is counted."""
    rows = HourlyStat.objects.order_by("hour", "creative_id").values_list(
        "hour", "creative_id", "clicks", "views", "conversions", "revenue_micros", "spend_micros"
    )
    return [row for row in rows if any(row[2:])]


@pytest.fixture
def shop(db: None, events: redis.Redis) -> Shop:
    return Shop(events)


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # of a busy machine
)
@given(drawn=worlds)
@example(  # served before the window, clicked in it, and the conversion came first
    drawn=Drawn([Touched("click", 0, 0, 0.5, 0.9)], [Converted(0, 0, 2.0, 100, 0)], [], [], order=REVERSED)
)
@example(  # the named click is another's, and the visitor's own later one came last
    drawn=Drawn(
        [Touched("click", 0, 0, 0.5, 0.0), Touched("click", 1, 1, 1.0, 0.0)],
        [Converted(0, 1, 1.5, 100, 0)],
        [],
        [],
        order=REVERSED,
    )
)
@example(  # two campaigns clicked at one moment: whose removal costs more must not hang on which row came first
    drawn=Drawn(
        [
            Touched("click", 0, 1, 1.0, 0.0),
            Touched("click", 1, 1, 1.0, 0.0),
            Touched("click", 1, 2, 1.0, 0.0),
        ],
        [Converted(0, 1, 2.0, 100, None)],
        [],
        [],
        order=REVERSED,
    )
)
def test_final_numbers_do_not_hang_on_the_order_of_arrival(shop: Shop, drawn: Drawn) -> None:
    steps = shop.steps(drawn)
    shuffled = steps + [steps[one] for one in drawn.again if one < len(steps)]
    if drawn.order == REVERSED:
        shuffled.reverse()
    else:
        random.Random(drawn.order).shuffle(shuffled)
    found = []
    for told in (steps, shuffled):
        with transaction.atomic():
            shop.tell(told)
            credits.rebuild_all(shop.owner.pk, since=SINCE, until=NIGHT)
            found.append((credited(), counted()))
            assert credits.rebuild_all(shop.owner.pk, since=SINCE, until=NIGHT) == 0
            transaction.set_rollback(True)
    assert found[0] == found[1]
    assert all(value <= 1_000 * MICROS for *_, value in found[0][0])
