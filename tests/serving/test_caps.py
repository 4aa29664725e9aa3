"""Frequency caps: checked on reading, counted on impression, in fixed windows, once per decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.campaigns.models import AdvertiserCap
from adplatform.core.pseudonym import pseudonym
from adplatform.decision.types import Candidate, Cap, CapScope
from adplatform.events.records import Served
from adplatform.serving.counters import (
    HOLD_SECONDS,
    CapCounter,
    Known,
    cap_field,
    cap_key,
    hold_field,
    seen_from,
)
from tests import factories
from tests.serving import market as m

DAY = 86_400
MIDNIGHT = datetime(2026, 6, 16, tzinfo=UTC)
CAPPED = Candidate(
    creative_id=1,
    line_item_id=2,
    campaign_id=3,
    advertiser_id=4,
    caps=(Cap(CapScope.CAMPAIGN, 1, DAY), Cap(CapScope.ADVERTISER, 5, 3_600)),
)


def _served(visitor: bytes = b"\xaa") -> Served:
    return Served(
        decision_id=b"d" * 16,
        served_at=MIDNIGHT,
        expires_at=MIDNIGHT + timedelta(days=1),
        slot_id=1,
        publisher_id=1,
        advertiser_id=4,
        campaign_id=3,
        line_item_id=2,
        creative_id=1,
        visitor=visitor,
        price_kind="cpm",
        charge_micros=1,
        currency="USD",
        source="live",
        pctr=0.01,
        landing_url="",
    )


def test_only_the_present_window_counts_and_past_ones_are_dropped() -> None:
    before, after = MIDNIGHT - timedelta(seconds=1), MIDNIGHT
    caps = {
        cap_field("line_item", 7, DAY, before): b"3",
        cap_field("line_item", 7, DAY, after): b"1",
        cap_field("campaign", 9, 3_600, after): b"2",
    }
    seen, past = seen_from(Known({}, caps), after)
    assert seen.count("line_item", 7, DAY) == 1
    assert seen.count("campaign", 9, 3_600) == 2
    assert past == [cap_field("line_item", 7, DAY, before)]


@pytest.mark.django_db
def test_an_ad_stops_at_its_cap_for_this_visitor_only(serve, ask) -> None:
    m.ad(line_item={"cap_impressions": 2})
    slot = m.slot()
    market = serve()

    def request(user: str):
        body = {
            "placements": [{"id": "a", "slot": slot.public_id}],
            "user": {"id": user, "consent": m.AGREED},
        }
        return ask("POST", "/v1/decisions", body).json["placements"]["a"]

    for _ in range(2):
        (ad,) = request("reader")["ads"]
        for _ in range(2):  # a repeated gif is one impression
            ask("GET", ad["impression_url"].removeprefix("http://localhost:8000"))
        market.server.flush()
    assert request("reader") == {"ads": [], "no_ad": "frequency_cap"}
    assert len(request("other")["ads"]) == 1
    key = cap_key(pseudonym("reader"))
    assert list(market.hot.hgetall(key).values()) == [b"2"]
    assert DAY < market.hot.ttl(key) <= 2 * DAY


@pytest.mark.django_db
def test_past_windows_are_removed_from_valkey(serve, ask) -> None:
    m.ad(line_item={"cap_impressions": 2})
    slot = m.slot()
    market = serve()
    key = cap_key(pseudonym("reader"))
    market.hot.hset(key, "line_item:1:86400:5", 9)
    body = {
        "placements": [{"id": "a", "slot": slot.public_id}],
        "user": {"id": "reader", "consent": m.AGREED},
    }
    ask("POST", "/v1/decisions", body)
    market.server.flush()
    assert [name for name in market.hot.hgetall(key) if not name.startswith(b"h:")] == []


def test_without_a_visitor_nothing_is_held_or_counted(hot) -> None:
    counter = CapCounter(hot)
    counter.hold(_served(visitor=b""), CAPPED)
    counter.count(_served(visitor=b""), CAPPED, MIDNIGHT)
    counter.flush()
    assert hot.keys() == []


def test_a_served_ad_is_held_until_it_renders_and_then_counted_once(hot) -> None:
    counter, served = CapCounter(hot), _served()
    counter.hold(served, CAPPED)
    # Before anything is written this process knows it; from the flush on everybody does.
    here = counter.with_unwritten("aa", Known({}, {}))
    counter.flush()
    there = Known({}, hot.hgetall(cap_key("aa")))
    assert counter.with_unwritten("aa", Known({}, {})) == Known({}, {})
    for known in (here, there):
        seen, past = seen_from(known, MIDNIGHT)
        assert (seen.count("campaign", 3, DAY), seen.count("advertiser", 4, 3_600), past) == (1, 1, [])
    counter.count(served, CAPPED, MIDNIGHT + timedelta(seconds=2))
    counter.flush()
    seen, _ = seen_from(Known({}, hot.hgetall(cap_key("aa"))), MIDNIGHT + timedelta(seconds=3))
    assert (seen.count("campaign", 3, DAY), seen.count("advertiser", 4, 3_600)) == (1, 1)
    assert not [name for name in hot.hgetall(cap_key("aa")) if name.startswith(b"h:")]


def test_a_hold_that_never_renders_ends_by_itself(hot) -> None:
    counter = CapCounter(hot)
    counter.hold(_served(), CAPPED)
    counter.flush()
    assert 0 < hot.ttl(cap_key("aa")) <= 2 * HOLD_SECONDS
    known = Known({}, hot.hgetall(cap_key("aa")))
    assert seen_from(known, MIDNIGHT + timedelta(seconds=HOLD_SECONDS - 1))[0].count("campaign", 3, DAY) == 1
    seen, past = seen_from(known, MIDNIGHT + timedelta(seconds=HOLD_SECONDS))
    assert (seen.count("campaign", 3, DAY), past) == (0, [hold_field(b"d" * 16, MIDNIGHT)])


def _asked(ask: Any, slot: Any) -> Any:
    body = {
        "placements": [{"id": "a", "slot": slot.public_id}],
        "user": {"id": "reader", "consent": m.AGREED},
    }
    return ask("POST", "/v1/decisions", body).json["placements"]["a"]


@pytest.mark.django_db
def test_requests_in_parallel_deliver_no_more_than_the_cap(serve, ask) -> None:
    m.ad(line_item={"cap_impressions": 2})
    slot = m.slot()
    serve()
    # None of them has rendered yet.
    assert [_asked(ask, slot)["no_ad"] for _ in range(4)] == [None, None, "frequency_cap", "frequency_cap"]


@pytest.mark.django_db
@pytest.mark.parametrize("level", ["creative", "line_item", "campaign", "advertiser"])
def test_each_level_has_its_cap(serve, ask, level: str) -> None:
    first = m.ad()
    line_item, owner = first.line_item, first.line_item.campaign.organisation
    # What the cap counts over beside it, and what it does not: another ad one level up.
    others = [
        lambda: factories.creative(line_item),
        lambda: factories.creative(factories.line_item(line_item.campaign)),
    ]
    others += [lambda: m.ad(owner), m.ad]
    place = ["creative", "line_item", "campaign", "advertiser"].index(level)
    within = {str(first.public_id), *(str(other().public_id) for other in others[:place])}
    beyond = str(others[place]().public_id)
    holders = [first, line_item, line_item.campaign, AdvertiserCap.objects.create(organisation=owner)]
    holders[place].cap_impressions, holders[place].cap_window_seconds = 2, 3_600
    holders[place].save()
    slot = m.slot()
    serve()
    shown = [ad["creative_id"] for _ in range(8) for ad in _asked(ask, slot)["ads"]]
    assert len(shown) == 8
    assert sum(one in within for one in shown) == 8 - shown.count(beyond) == 2


@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    seconds=st.sampled_from([3_600, DAY, 7 * DAY, 30 * DAY]),
    timestamp=st.integers(1_767_225_600, 1_830_297_600),  # 2026 and 2027
)
def test_a_window_of_a_cap_is_as_long_on_every_day_of_the_year(
    zone: str, seconds: int, timestamp: int
) -> None:
    """Windows are of UTC: no change of clocks makes one longer, shorter or counted twice."""
    at = datetime.fromtimestamp(timestamp, UTC)
    start = at - timedelta(seconds=timestamp % seconds)
    known = Known({}, {cap_field("campaign", 3, seconds, at.astimezone(ZoneInfo(zone))): b"2"})
    for after, expected in ((0, 2), (seconds - 1, 2), (seconds, 0)):
        seen, past = seen_from(known, (start + timedelta(seconds=after)).astimezone(ZoneInfo(zone)))
        assert seen.count("campaign", 3, seconds) == expected
        assert len(past) == (expected == 0)


@pytest.mark.django_db
def test_a_test_request_takes_nothing(serve, ask) -> None:
    m.ad(
        campaign={"bid_strategy": "manual_cpm", "daily_budget_micros": 5_000},
        line_item={"bid_micros": 2 * m.MICROS},
    )
    slot = m.slot(floor_micros=2 * m.MICROS)
    serve()
    body = {"placements": [{"id": "a", "slot": slot.public_id}], "test": True}
    answers = [ask("POST", "/v1/decisions", body).json["placements"]["a"]["no_ad"] for _ in range(4)]
    assert answers == [None] * 4
