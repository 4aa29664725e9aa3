"""One ad request, told from the page's question to the facts in the database."""

from __future__ import annotations

import pytest

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.core.pseudonym import pseudonym
from adplatform.events.models import AdDecision, FillStat
from adplatform.serving import pipeline
from tests.serving import market as m


@pytest.mark.django_db
def test_one_ad_request(serve, ask) -> None:
    # An advertiser pays 0.50 for a click, a rival 0.20; a publisher has one slot for banners.
    ours = m.ad(
        campaign={"bid_strategy": "manual_cpc"}, line_item={"bid_micros": 500_000}, headline="Trail shoes <3"
    )
    m.ad(campaign={"bid_strategy": "manual_cpc"}, line_item={"bid_micros": 200_000})
    slot = m.slot(floor_micros=0)
    market = serve()

    # A reader who agreed to a profile opens a page.
    reply = ask(
        "POST",
        "/v1/decisions",
        {
            "placements": [{"id": "top", "slot": slot.public_id}],
            "user": {"id": "reader-1", "consent": m.AGREED},
            "context": {"url": "https://site.example/trails", "keywords": ["trail", "running"]},
        },
    )
    assert reply.status == 200
    body = reply.json
    assert set(body) == {"request_id", "mode", "placements"}
    placement = body["placements"]["top"]
    assert placement["no_ad"] is None
    (ad,) = placement["ads"]
    assert {"decision_id", "campaign_id", "line_item_id", "creative_id", "format", "content", "html"} < set(
        ad
    )
    assert {"impression_url", "view_url", "click_url"} < set(ad)
    assert ad["creative_id"] == str(ours.public_id)
    assert "Trail shoes &lt;3" in ad["html"]
    assert "<script" not in ad["html"]

    # The decision is a fact a moment later, with all that led to it, beside the count of what became of each ad.
    market.server.flush()
    assert pipeline.drain_all(market.events, market.hot) == 2
    decision = AdDecision.objects.get()
    assert decision.decision_id.hex == ad["decision_id"]
    assert (decision.creative_id, decision.slot_id, decision.no_ad) == (ours.pk, slot.pk, "")
    assert decision.visitor == pseudonym("reader-1")
    assert decision.price_kind == "cpc"
    assert 0 < decision.charge_micros <= 500_000
    assert 0 < decision.propensity <= 1
    assert decision.refused["outbid"] == 1
    assert set(decision.versions) >= {"snapshot", "matcher", "blender"}

    # The reader is known under a pseudonym, with the consent as it was given and the page that was read.
    visitor = Visitor.objects.get()
    assert visitor.pseudonym == pseudonym("reader-1")
    assert Consent.objects.get().evidence == m.AGREED["tcf"]
    assert Behaviour.objects.get().text == "trail, running"
    fill = FillStat.objects.get()
    assert (fill.slot_id, fill.reason, fill.requests) == (slot.pk, "", 1)
