"""Why people see the ads, for their advertiser: means over many on the campaign's page, one decision by API."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.urls import reverse

from adplatform.learning.models import Influence
from tests import factories as f
from tests.api.calls import Caller
from tests.portal.conftest import Tenant

GROUPS = {
    "text_match": {"mean": 0.4055, "size": 0.6},
    "history": {"mean": -0.1, "size": 0.2},
    "ad_quality": {"mean": 0.0, "size": 0.1},
    "context": {"mean": 0.0, "size": 0.1},
    "fatigue": {"mean": -0.05, "size": 0.0},
    "exploration": {"mean": 0.0, "size": 0.0},
}


def influence(line_item: Any, **fields: Any) -> Influence:
    given = {"computed_at": f.NOON, "decisions": 200, "visitors": 90, "blender": "b", "groups": GROUPS}
    return Influence.objects.create(line_item_id=line_item.pk, **given | fields)


def test_the_campaign_page_shows_what_moved_the_odds(ours: Tenant) -> None:
    influence(ours.line_item, topics=[["Pruning roses", 61]], page_words=[["garden", 80, 2]])
    page = ours.client.get(reverse("portal:campaign", args=[ours.campaign.public_id])).content.decode()
    assert "Why people see this" in page
    assert "1.50×" in page  # e^0.4055
    assert "60%" in page  # 0.6 of 1.0
    assert "“Pruning roses” · 61 people" in page
    row = '<td>garden</td><td class="n">80</td><td class="n">2.50%</td>'
    assert row in page
    figure = ours.client.get(reverse("portal:line_item_why", args=[ours.line_item.public_id])).json()
    bars = {name: x for trace in figure["data"] for name, x in zip(trace["y"], trace["x"], strict=True)}
    assert bars["Match of topics"] == pytest.approx(0.5, abs=1e-3)
    assert bars["Readiness to click"] < 0


def test_before_the_first_hour_it_says_what_will_come(ours: Tenant) -> None:
    page = ours.client.get(reverse("portal:campaign", args=[ours.campaign.public_id])).content.decode()
    assert "Not told yet" in page
    figure = ours.client.get(reverse("portal:line_item_why", args=[ours.line_item.public_id])).json()
    assert [len(trace["x"]) for trace in figure["data"]] == [0, 0]


def test_others_figures_do_not_exist(ours: Tenant, theirs: Tenant) -> None:
    influence(theirs.line_item)
    assert (
        ours.client.get(reverse("portal:line_item_why", args=[theirs.line_item.public_id])).status_code == 404
    )


def test_a_decision_is_explained_to_its_advertiser_alone(ours: Tenant, theirs: Tenant) -> None:
    slot = f.slot()
    found = f.decision(
        ours.creative,
        slot,
        bid_micros=3_000_000,
        price_micros=2_000_000,
        runner_up_micros=1_900_000,
        pctr=0.02,
    )
    path = f"decisions/{found.decision_id}/explanation"
    told = Caller(ours.organisation).get(path)
    assert told.status_code == 200
    body = told.json()
    assert body["creative_id"] == str(ours.creative.public_id)
    assert (body["is_exact"], body["pctr"], body["runner_up_micros"]) == (False, 0.02, 1_900_000)
    assert body["reasons"][-1]["text"].startswith(
        "Your bid was worth $3.00 per 1,000 impressions, the next one $1.90"
    )
    assert Caller(theirs.organisation).get(path).status_code == 404
    assert Caller(ours.organisation).get(f"decisions/{uuid.uuid4()}/explanation").status_code == 404
    assert Caller(ours.organisation, scopes=["conversions"]).get(path).status_code == 403
    assert Caller(f.publisher()).get(path).status_code == 403
