"""Operators try a request: what it would get and why, without any effect; and see delivery per line item."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from adplatform import settings
from adplatform.console import trial
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.events.models import AdDecision, DeliveryHour, TallyReport
from adplatform.serving import consent, pipeline
from adplatform.serving.counters import cap_field, cap_key
from tests import factories
from tests.serving import market as m

pytestmark = pytest.mark.django_db
URL = "/console/try/"


@pytest.fixture
def op(client: Client) -> Client:
    client.force_login(factories.operator())
    return client


@pytest.fixture
def published(tmp_path, hot, events, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Publishes what the database holds where trials look for it."""

    def publish() -> Any:
        monkeypatch.setattr(settings, "SNAPSHOT_DIR", tmp_path / "snapshots")
        monkeypatch.setattr(settings, "DECISION_EPSILON", 0.0)
        trial._trials.cache_clear()
        return m.market(tmp_path, hot, events)

    yield publish
    trial._trials.cache_clear()


def test_nobody_but_operators_finds_the_pages(client: Client) -> None:
    client.force_login(factories.member().user)
    for url in (URL, "/console/delivery/"):
        assert client.get(url).status_code == 404


def test_an_operator_sees_winner_price_reasons_and_every_rule_and_nothing_is_counted(op, published) -> None:
    cpm = {"bid_strategy": "manual_cpm"}
    winner = m.ad(campaign=cpm | {"name": "Boots"}, line_item={"bid_micros": 5_000_000, "name": "Everyone"})
    m.ad(campaign=cpm, line_item={"bid_micros": 2_000_000})
    far = m.ad(line_item={"targeting": {"country": ["JP"]}})
    slot = m.slot()
    market = published()
    given = {
        "slot": slot.public_id,
        "country": "DE",
        "device": "mobile",
        "line_item": far.line_item.public_id,
    }
    page = op.post(URL, given).content.decode()
    assert "Boots · Everyone" in page
    assert "$5.00, $2.00" in page  # bid and second price
    for words in ("contextual", "Outbid", "Another ad won the auction.", "Every rule about the line item"):
        assert words in page
    assert page.count("Refuses") == 1  # its country, and nothing else
    winning = op.post(
        URL, given | {"look": winner.line_item.public_id}
    ).content.decode()  # pressed in the table
    assert "Refuses" not in winning
    market.server.flush()
    pipeline.drain_all(market.events, None)
    assert (AdDecision.objects.count(), TallyReport.objects.count()) == (0, 0)
    assert market.events.xlen("events") == 0


def test_a_pasted_request_is_read_as_the_endpoint_reads_it(op, published, hot) -> None:
    ad = m.ad(line_item={"cap_impressions": 1, "cap_window_seconds": 86_400})
    slot = m.slot()
    published()
    name = pseudonym("reader")
    hot.hset(cap_key(name), cap_field("line_item", ad.line_item_id, 86_400, clock.now()), 1)
    body = {
        "placements": [{"id": "top", "slot": slot.public_id}, {"id": "side", "slot": "unknown"}],
        "user": {"id": "reader", "consent": {"tcf": consent.encode({1, 3, 4})}},
    }
    page = op.post(URL, {"body": json.dumps(body), "line_item": ad.line_item.public_id}).content.decode()
    assert "The visitor has seen it as often as its frequency cap allows." in page
    assert "The request names an ad slot that does not exist." in page
    assert page.count("Refuses") == 1
    assert hot.hgetall(cap_key(name)).popitem()[1] == b"1"  # looked at, not counted
    form = op.post(URL, {"slot": slot.public_id, "visitor": "reader"}).content.decode()
    assert "frequency cap allows" in form


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Name an ad slot, or paste a request."),
        ({"body": "{"}, "truncated"),
        ({"body": '{"placements": []}'}, "length"),
        ({"slot": "x", "country": "Germany"}, "Enter a valid value."),
    ],
)
def test_a_mistake_is_named_at_its_field(op, published, given, words) -> None:
    published()
    answer = op.post(URL, given | {"device": "mobile"})
    assert answer.status_code == 422
    assert words in answer.content.decode()


def test_before_the_first_snapshot_it_says_what_to_do(op, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(settings, "SNAPSHOT_DIR", tmp_path)
    trial._trials.cache_clear()
    page = op.post(URL, {"slot": "x"})
    assert page.status_code == 422
    assert "No snapshot is published yet" in page.content.decode()
    trial._trials.cache_clear()


def test_operators_see_delivery_of_every_line_item(op) -> None:
    assert "No opportunity in this range" in op.get("/console/delivery/").content.decode()
    ad = factories.creative()
    owners = {"campaign_id": ad.line_item.campaign_id, "advertiser_id": ad.line_item.campaign.organisation_id}
    DeliveryHour.objects.create(
        line_item_id=ad.line_item_id, hour=clock.now(), outcomes={"won": 1, "outbid": 2}, **owners
    )
    page = op.get("/console/delivery/").content.decode()
    assert "Outbid · 66.7%" in page
    one = f"/console/delivery/{ad.line_item.public_id}/"
    assert one in page
    assert "3 opportunities" in op.get(one).content.decode()
    assert op.get(f"{one}chart.json").json()["data"][0]["customdata"] == [1]
