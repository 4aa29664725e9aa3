"""Every decision is counted for every line item: from a request to the hours of delivery, through the stream."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adplatform import settings
from adplatform.events import delivery
from adplatform.events.models import AdDecision, DeliveryHour
from adplatform.serving import pipeline
from adplatform.serving.tallies import TallyReports
from tests.serving import market as m

pytestmark = pytest.mark.django_db


def asked(slot, **fields):
    return {"placements": [{"id": "a", "slot": slot.public_id}]} | fields


def delivered() -> dict[int, dict[str, int]]:
    return {row.line_item_id: row.outcomes for row in DeliveryHour.objects.all()}


def test_what_became_of_each_line_item_is_counted_once_per_request(serve, ask, monkeypatch) -> None:
    monkeypatch.setattr(settings, "DECISION_EPSILON", 0.0)
    cpm = {"bid_strategy": "manual_cpm"}
    ours = m.ad(campaign=cpm, line_item={"bid_micros": 5_000_000})
    m.factories.creative(ours.line_item)  # a second ad of the winner changes nothing
    theirs = m.ad(campaign=cpm, line_item={"bid_micros": 1_000_000})
    m.factories.creative(ours.line_item, width=728, height=90)
    far = m.ad(line_item={"targeting": {"country": ["JP"]}})
    other = m.ad(width=728, height=90)
    market = serve()
    slot = m.slot()
    market.publish()
    for _ in range(3):
        ask("POST", "/v1/decisions", asked(slot))
    ask("POST", "/v1/decisions", asked(slot, test=True))  # a test counts nowhere
    ask("POST", "/v1/decisions", asked(slot) | {"placements": [{"id": "a", "slot": "unknown"}]})
    market.server.flush()
    pipeline.drain_all(market.events, None)
    delivery.add_up()
    assert delivered() == {
        ours.line_item_id: {"won": 3},
        theirs.line_item_id: {"outbid": 3},
        far.line_item_id: {"wrong_country": 3},
    }
    assert other.line_item_id not in delivered()
    row = DeliveryHour.objects.get(line_item_id=ours.line_item_id)
    assert (row.campaign_id, row.advertiser_id) == (
        ours.line_item.campaign_id,
        ours.line_item.campaign.organisation_id,
    )
    served_at = AdDecision.objects.filter(source="live").latest("served_at").served_at
    assert served_at - timedelta(hours=1) < row.hour <= served_at


def test_a_clean_stop_reports_what_was_counted(serve, ask) -> None:
    ad = m.ad()
    slot = m.slot()
    market = serve()
    ask("POST", "/v1/decisions", asked(slot))
    market.server.close()
    pipeline.drain_all(market.events, None)
    delivery.add_up()
    assert delivered() == {ad.line_item_id: {"won": 1}}


def test_a_large_market_is_reported_in_parts(serve, ask, monkeypatch) -> None:
    from adplatform.serving import tallies

    monkeypatch.setattr(tallies, "LINE_ITEMS", 2)
    ads = [m.ad() for _ in range(5)]
    slot = m.slot()
    market = serve()
    ask("POST", "/v1/decisions", asked(slot))
    sent: list[bytes] = []
    assert TallyReports(sent.append).send(market.server.tally) == 5
    assert len(sent) == 3
    for packed in sent * 2:  # delivered twice, added once
        market.events.xadd("events", {b"r": packed})
    pipeline.drain_all(market.events, None)
    delivery.add_up()
    assert set(delivered()) == {ad.line_item_id for ad in ads}
    assert sum(sum(outcomes.values()) for outcomes in delivered().values()) == 5
