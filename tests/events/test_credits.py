"""Attribution side by side: shares that add up, adjustments, one per click."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adplatform.events import credits
from adplatform.events.models import Adjustment, Conversion, Credit, HourlyStat, Invalidation
from adplatform.events.services import Change, Report, adjust_conversions, record_conversions
from adplatform.events.shares import MODELS, WHOLE, removal_effects, shares, split
from tests import factories
from tests.events.streams import again, append, drain, event, served
from tests.factories import MICROS, NOON

READER = "ab" * 16
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("last_click", [0, 0, 0, 1_000_000]),
        ("first_click", [1_000_000, 0, 0, 0]),
        ("linear", [250_000] * 4),
        ("position", [400_000, 100_000, 100_000, 400_000]),
        ("time_decay", [66_666, 133_333, 266_667, 533_334]),
        ("data_driven", [500_000, 0, 250_000, 250_000]),
    ],
)
def test_what_each_model_gives(model: str, expected: list[int]) -> None:
    ages = [timedelta(days=days) for days in (21, 14, 7, 0)]
    found = shares(model, ages, [0.4, 0.0, 0.2, 0.2])
    assert sum(found) == WHOLE
    assert max(abs(one - other) for one, other in zip(found, expected, strict=True)) <= 1


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(st.integers(0, 10**12), st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30))
def test_parts_add_up(total: int, weights: list[float]) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 0


def test_a_campaigns_effect_is_what_is_lost_without_it() -> None:
    # Two of three paths convert; all conversions pass b, one of them begins at a.
    effects = removal_effects([(["a", "b"], True), (["b"], True), (["a"], False)])
    assert effects["b"] == pytest.approx(1.0)
    assert effects["a"] == pytest.approx(0.5)


@pytest.fixture
def shop(db):
    owner = factories.organisation()
    factories.conversion_action(owner, name="Purchase", default_value_micros=5 * MICROS)
    return owner


def campaigns_of(owner, count: int = 3):
    slot = factories.slot()
    creatives = [factories.creative(factories.line_item(factories.campaign(owner))) for _ in range(count)]
    return [served(creative, slot, visitor=bytes.fromhex(READER)) for creative in creatives]


def report(event_id: str, days: float, **fields) -> Report:
    return Report(
        **{"event_id": event_id, "action": "Purchase", "occurred_at": NOON + days * DAY, "visitor": READER}
        | fields
    )


def totals() -> list[tuple[object, ...]]:
    rows = Credit.objects.order_by("conversion__event_id", "model", "decision_id")
    return list(
        rows.values_list("conversion__event_id", "model", "touch", "decision_id", "share_ppm", "value_micros")
    )


def counted() -> tuple[int, int]:
    rows = HourlyStat.objects.values_list("conversions", "revenue_micros")
    return tuple(map(sum, zip(*rows, strict=True))) if rows else (0, 0)


def test_every_model_shares_the_whole_value(events, shop) -> None:
    ads = campaigns_of(shop)
    append(events, *(event("click", again(ad, served_at=NOON + n * DAY)) for n, ad in enumerate(ads)))
    drain(events)
    record_conversions(advertiser=shop, reports=[report("a", 3, value_micros=9_999_999)], at=NOON + 4 * DAY)
    credits.rebuild_all(shop.pk, since=NOON, until=NOON + 5 * DAY)
    for model in MODELS:
        rows = Credit.objects.filter(model=model)
        assert sum(row.share_ppm for row in rows) == WHOLE
        assert sum(row.value_micros for row in rows) == 9_999_999
    assert counted() == (1, 9_999_999)


def test_adjustments_are_facts_of_which_the_latest_holds(events, shop) -> None:
    ad = again(campaigns_of(shop, 1)[0])
    append(events, event("click", ad))
    drain(events)

    def change(name: str, days: float, value: int | None) -> Change:
        return Change(
            event_id="a",
            action="Purchase",
            adjustment_id=name,
            occurred_at=NOON + days * DAY,
            value_micros=value,
        )

    def adjust(*changes: Change) -> list[str]:
        return [one.status for one in adjust_conversions(advertiser=shop, changes=changes, at=NOON + 9 * DAY)]

    assert adjust(change("r2", 5, 2 * MICROS)) == ["recorded"]  # before its conversion arrived
    record_conversions(advertiser=shop, reports=[report("a", 1)], at=NOON + 2 * DAY)
    assert counted() == (1, 2 * MICROS)
    assert adjust(change("r1", 3, 9 * MICROS), change("r2", 5, 2 * MICROS)) == ["recorded", "duplicate"]
    assert counted() == (1, 2 * MICROS)
    assert adjust(change("gone", 6, None)) == ["recorded"]
    assert (counted(), Credit.objects.count()) == ((0, 0), 0)
    assert (Conversion.objects.get().value_micros, Adjustment.objects.count()) == (5 * MICROS, 3)


def test_value_rules_and_one_conversion_per_click(events, shop) -> None:
    factories.conversion_action(
        shop, name="Lead", default_value_micros=MICROS, value_rule="fixed", counting="one"
    )
    factories.conversion_action(shop, name="Basket", value_share_bp=2_500)
    append(events, event("click", again(campaigns_of(shop, 1)[0])))
    drain(events)
    reports = [
        report(name, days, action="Lead", value_micros=7 * MICROS)
        for name, days in (("second", 2), ("first", 1))
    ]
    record_conversions(advertiser=shop, reports=reports[:1], at=NOON + 3 * DAY)
    record_conversions(advertiser=shop, reports=reports[1:], at=NOON + 3 * DAY)
    assert counted() == (1, MICROS)
    assert set(Credit.objects.values_list("conversion__event_id", flat=True)) == {"first"}
    record_conversions(
        advertiser=shop, reports=[report("b", 1, action="Basket", value_micros=8 * MICROS)], at=NOON + 3 * DAY
    )
    assert counted() == (2, 3 * MICROS)


def test_a_view_is_told_apart_and_a_dry_run_leaves_nothing(events, shop) -> None:
    append(events, event("view", again(campaigns_of(shop, 1)[0])))
    drain(events)
    told = record_conversions(advertiser=shop, reports=[report("a", 0.5)], at=NOON + DAY, dry_run=True)
    assert (told[0].attribution, Conversion.objects.count()) == ("view", 0)
    record_conversions(advertiser=shop, reports=[report("a", 0.5)], at=NOON + DAY)
    assert [row[:3] for row in totals()] == [("a", "last_click", "view")]
    assert counted() == (0, 0)


def test_an_invalid_click_loses_its_credit(events, shop) -> None:
    ad = again(campaigns_of(shop, 1)[0])
    append(events, event("click", ad))
    drain(events)
    record_conversions(advertiser=shop, reports=[report("a", 1, click=ad, visitor="")], at=NOON + 2 * DAY)
    assert counted() == (1, 5 * MICROS)
    copied = {
        name: getattr(ad, name)
        for name in (
            "served_at",
            "slot_id",
            "publisher_id",
            "advertiser_id",
            "campaign_id",
            "line_item_id",
            "creative_id",
            "currency",
        )
    }
    Invalidation.objects.create(
        kind="click",
        decision_id=ad.decision_id.hex(),
        reason="unseen",
        rules=1,
        found_at=NOON,
        charge_micros=0,
        **copied,
    )
    credits.rebuild_all(shop.pk, since=NOON, until=NOON + 3 * DAY)
    assert (counted(), totals()) == ((0, 0), [])
