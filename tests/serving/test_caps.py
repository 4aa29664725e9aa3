"""Frequency caps: checked on reading, counted on impression, in fixed windows, once per decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adplatform.core.pseudonym import pseudonym
from adplatform.serving.counters import CapCounter, Known, cap_field, cap_key, seen_from
from tests.serving import market as m

DAY = 86_400
MIDNIGHT = datetime(2026, 6, 16, tzinfo=UTC)


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
    assert market.hot.hgetall(key) == {}


def test_without_a_visitor_nothing_is_counted(hot) -> None:
    from adplatform.decision.types import Candidate, Cap, CapScope

    counter = CapCounter(hot)
    candidate = Candidate(
        creative_id=1, line_item_id=2, campaign_id=3, advertiser_id=4, caps=(Cap(CapScope.CAMPAIGN, 1, DAY),)
    )
    counter.count(b"d", b"", candidate, MIDNIGHT)
    counter.flush()
    assert hot.keys() == []


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
