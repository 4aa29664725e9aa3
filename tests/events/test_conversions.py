"""Conversions: once per the advertiser's event id, each with its result, credited and counted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adplatform.events.models import Conversion, HourlyStat
from adplatform.events.records import PixelConversion
from adplatform.events.services import Report, record_conversions
from tests import factories
from tests.events.streams import append, drain, event, served
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(hours=2)


@pytest.fixture
def shop():
    owner = factories.organisation()
    factories.conversion_action(owner, name="Purchase", default_value_micros=5 * MICROS)
    return owner


def ad_of(owner, **fields):
    return served(factories.creative(factories.line_item(factories.campaign(owner))), **fields)


def report(event_id: str = "order-1", **fields) -> Report:
    return Report(**{"event_id": event_id, "action": "Purchase", "occurred_at": LATER} | fields)


def record(owner, *reports: Report):
    return record_conversions(advertiser=owner, reports=reports, at=LATER)


def test_a_signed_click_gets_the_credit_and_the_revenue(events, shop) -> None:
    ad = ad_of(shop)
    append(events, event("click", ad))
    drain(events)
    (result,) = record(shop, report(click=ad, value_micros=80 * MICROS))
    assert (result.status, result.attribution) == ("recorded", "click")
    assert Conversion.objects.get().decision_id.bytes == ad.decision_id
    hour = HourlyStat.objects.get(hour=LATER)
    assert (hour.conversions, hour.revenue_micros, hour.clicks) == (1, 80 * MICROS, 0)


def test_reporting_again_changes_nothing(shop) -> None:
    ad = ad_of(shop)
    results = record(shop, report(click=ad), report(click=ad)) + record(shop, report(click=ad))
    assert [result.status for result in results] == ["recorded", "duplicate", "duplicate"]
    assert Conversion.objects.get().value_micros == 5 * MICROS
    assert HourlyStat.objects.get().conversions == 1


def test_without_a_click_id_the_visitors_own_clicks_and_views_count(events, shop) -> None:
    reader = "ab" * 16
    ad = ad_of(shop, visitor=bytes.fromhex(reader))
    append(events, event("view", ad))
    drain(events)
    (result,) = record(shop, report(visitor=reader))
    assert result.attribution == "view"
    # A day and a bit later the view is too old.
    late = report("order-2", visitor=reader, occurred_at=NOON + timedelta(days=1, minutes=1))
    (result,) = record_conversions(advertiser=shop, reports=[late], at=NOON + timedelta(days=2))
    assert (result.status, result.attribution) == ("recorded", "none")


def test_somebody_elses_views_get_no_credit(events, shop) -> None:
    reader = "ab" * 16
    append(events, event("click", ad_of(factories.organisation(), visitor=bytes.fromhex(reader))))
    drain(events)
    (result,) = record(shop, report(visitor=reader))
    assert result.attribution == "none"


def test_a_bots_click_gets_no_credit(events, shop) -> None:
    ad = ad_of(shop)
    append(events, event("click", ad, agent="bot"))
    drain(events)
    (result,) = record(shop, report(click=ad))
    assert result.attribution == "none"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event_id": ""}, "invalid_event_id"),
        ({"event_id": "x" * 121}, "invalid_event_id"),
        ({"action": "Nothing"}, "unknown_action"),
        ({"currency": "JPY"}, "wrong_currency"),
        ({"value_micros": -1}, "invalid_value"),
        ({"occurred_at": LATER + timedelta(minutes=6)}, "in_the_future"),
    ],
)
def test_what_is_wrong_is_said_per_event(shop, fields, reason) -> None:
    wrong = Report(**{"event_id": "order-1", "action": "Purchase", "occurred_at": LATER} | fields)
    results = record(shop, wrong, report("order-9"))
    assert [(result.status, result.reason) for result in results] == [("rejected", reason), ("recorded", "")]
    assert Conversion.objects.count() == 1


def test_a_click_on_another_advertisers_ad_is_refused(shop) -> None:
    (result,) = record(shop, report(click=ad_of(factories.organisation())))
    assert (result.status, result.reason) == ("rejected", "foreign_click")
    assert Conversion.objects.count() == 0


def test_a_pixel_without_a_click_id_is_stored_unattributed(events, shop) -> None:
    named = {"action": "Purchase", "occurred_at": NOON, "click": None, "value_micros": None, "currency": ""}
    append(
        events,
        PixelConversion(event_id="a", advertiser=str(shop.public_id), **named),
        PixelConversion(event_id="b", advertiser="nobody", **named),
        PixelConversion(event_id="c", advertiser="00000000-0000-0000-0000-000000000000", **named),
    )
    drain(events)
    conversion = Conversion.objects.get()
    assert (conversion.event_id, conversion.attribution, conversion.decision_id) == ("a", "none", None)
    assert HourlyStat.objects.count() == 0
