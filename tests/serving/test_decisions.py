"""POST /v1/decisions: what is malformed, what consent and keys change, who may read it, and that it never fails."""

from __future__ import annotations

import socket
import time

import pytest

from adplatform import settings
from adplatform.accounts import keys
from adplatform.core.pseudonym import pseudonym
from adplatform.events.models import AdDecision
from adplatform.serving import pipeline, server
from tests import factories
from tests.serving import market as m

pytestmark = pytest.mark.django_db
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148"


def question(slot, **fields):
    return {"placements": [{"id": "a", "slot": slot.public_id}]} | fields


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"user": {"consent": ' + b"[" * 5_000, "invalid_json"),
        (b'{"placements": [{"id": "\\ud800", "slot": "x"}]}', "invalid_json"),
        (b'{"placements": [{"id": "a", "slot": "x"}], "user": {"id": "\\udfff"}}', "invalid_json"),
        (b"[]", "invalid_request"),
        ({}, "invalid_request"),
        ({"placements": []}, "invalid_request"),
        ({"placements": [{"id": "a"}]}, "invalid_request"),
        ({"placements": [{"id": "a", "slot": "x", "count": 0}]}, "invalid_request"),
        ({"placements": [{"id": "a", "slot": "x", "count": 11}]}, "invalid_request"),
        ({"placements": [{"id": 7, "slot": "x"}]}, "invalid_request"),
        ({"placements": [{"id": "a", "slot": "x"}] * 2}, "duplicate_placement"),
        ({"placements": [{"id": "a", "slot": "x"}], "user": {"id": ""}}, "invalid_request"),
        ({"placements": [{"id": "a", "slot": "x"}], "context": {"keywords": "trail"}}, "invalid_request"),
        ({"placements": [{"id": "a", "slot": "x"}], "context": {"country": "DEU"}}, "invalid_request"),
        ({"placements": [{"id": "a", "slot": "x"}], "test": "yes"}, "invalid_request"),
        (b'{"placements": [{"id": "a", "slot": "x"}], "pad": "' + b"x" * 70_000 + b'"}', "too_large"),
    ],
)
def test_malformed_requests_get_400_with_a_reason(serve, ask, body, code) -> None:
    serve()
    reply = ask("POST", "/v1/decisions", body)
    assert (reply.status, reply.json["error"]) == (400, code)
    assert reply.json["detail"]


def test_other_methods_and_paths(serve, ask) -> None:
    serve()
    assert ask("GET", "/v1/decisions").status == 405
    assert ask("GET", "/").status == 404
    assert ask("GET", "/admin/").status == 404


def test_no_ad_is_an_answer_with_its_reason(serve, ask) -> None:
    slot = m.slot(floor_micros=100 * m.MICROS)
    m.ad(line_item={"bid_micros": 1_000})
    serve()
    two = [{"id": "a", "slot": slot.public_id}, {"id": "b", "slot": "unknown"}]
    reply = ask("POST", "/v1/decisions", {"placements": two})
    assert reply.status == 200
    assert reply.json["placements"] == {
        "a": {"ads": [], "no_ad": "below_floor"},
        "b": {"ads": [], "no_ad": "unknown_slot"},
    }


def test_without_a_snapshot_there_is_no_ad_and_no_error(ask, monkeypatch, tmp_path, hot, events) -> None:
    from adplatform.events.spool import Spool
    from adplatform.events.stream import EventStream
    from adplatform.serving import process
    from adplatform.serving.snapshot import SnapshotHolder

    bare = server.Server(
        snapshots=SnapshotHolder(tmp_path),
        stream=EventStream(events, Spool(tmp_path)),
        hot=hot,
        hot_background=hot,
    )
    monkeypatch.setattr(process, "_server", bare)
    reply = ask("POST", "/v1/decisions", {"placements": [{"id": "a", "slot": "x"}]})
    assert (reply.status, reply.json["mode"]) == (200, "no_snapshot")
    assert ask("GET", "/readyz").status == 503
    assert ask("GET", "/livez").status == 200


def test_an_unexpected_error_is_a_no_ad_that_is_counted(serve, ask, monkeypatch) -> None:
    m.ad()
    market = serve()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the model exploded")

    monkeypatch.setattr(server, "answer", fail)
    reply = ask("POST", "/v1/decisions", question(m.slot()))
    assert (reply.status, reply.json["mode"]) == (200, "error")
    assert reply.json["placements"]["a"] == {"ads": [], "no_ad": "error"}
    assert market.server.metrics.get("errors") == 1
    assert b"adplatform_errors_total 1" in ask("GET", "/metrics").body


def test_an_error_before_the_decision_is_no_server_error_either(serve, ask, monkeypatch) -> None:
    from adplatform.serving.endpoints import decisions, events

    market = serve()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(decisions, "read", fail)
    reply = ask("POST", "/v1/decisions", question(m.slot()))
    assert (reply.status, reply.json["mode"]) == (200, "error")
    assert reply.json["placements"] == {"a": {"ads": [], "no_ad": "error"}}
    monkeypatch.setattr(events.signer, "read", fail)
    assert ask("GET", "/e/i/x").status == 503
    assert market.server.metrics.get("errors") == 2


@pytest.mark.parametrize(
    ("user", "headers"),
    [
        ({"id": "reader"}, {}),
        ({"id": "reader", "consent": {"tcf": "rubbish"}}, {}),
        ({"id": "reader", "consent": 7}, {}),
        ({"id": "reader", "consent": m.AGREED | {"gpc": True}}, {}),
        ({"id": "reader", "consent": m.AGREED}, {"SEC_GPC": "1"}),
        ({"consent": m.AGREED}, {}),
    ],
)
def test_without_consent_it_is_contextual_and_no_id_is_stored(serve, ask, user, headers) -> None:
    m.ad()
    slot = m.slot()
    market = serve()
    context = {"url": "https://site.example/secret", "keywords": ["trail"]}
    reply = ask("POST", "/v1/decisions", question(slot, user=user, context=context), **headers)
    assert reply.json["mode"] == "contextual"
    assert len(reply.json["placements"]["a"]["ads"]) == 1
    market.server.flush()
    stream = b"".join(fields[b"r"] for _, fields in market.events.xrange("events"))
    for trace in (b"reader", pseudonym("reader").encode(), bytes.fromhex(pseudonym("reader")), b"secret"):
        assert trace not in stream
    pipeline.drain_all(market.events, None)
    assert AdDecision.objects.get().visitor == ""


def test_a_browser_cannot_choose_its_country_or_device(serve, ask) -> None:
    m.ad()
    slot = m.slot()
    market = serve()
    context = {"country": "FR", "region": "FR-IDF", "device": "desktop", "language": "de-AT"}
    ask("POST", "/v1/decisions", question(slot, context=context), USER_AGENT=PHONE)
    (owner, key) = factories.publisher(), keys.join(*keys.new())
    prefix, secret = keys.split(key)
    factories.api_key(owner, prefix=prefix, secret=secret, scopes=["read"])
    market.publish()
    ask("POST", "/v1/decisions", question(slot, context=context), AUTHORIZATION=f"Bearer {key}")
    ask("POST", "/v1/decisions", question(slot, context=context), AUTHORIZATION=f"Bearer {key}x")
    market.server.flush()
    pipeline.drain_all(market.events, None)
    rows = AdDecision.objects.order_by("served_at").values_list("country", "region", "device", "language")
    assert list(rows) == [
        ("", "", "mobile", "de-AT"),
        ("FR", "FR-IDF", "desktop", "de-AT"),
        ("", "", "desktop", "de-AT"),
    ]


def test_explain_needs_a_key_of_its_scope(serve, ask, monkeypatch) -> None:
    monkeypatch.setattr(settings, "DECISION_EPSILON", 0.0)
    cpm = {"bid_strategy": "manual_cpm"}  # who pays per impression wins by the bid alone, in every draw
    ours, theirs = (m.ad(campaign=cpm, line_item={"bid_micros": bid}) for bid in (5_000_000, 1_000_000))
    other = m.ad(line_item={"targeting": {"country": ["JP"]}})
    slot = m.slot()
    key, reader = keys.join(*keys.new()), keys.join(*keys.new())
    for one, scopes in ((key, ["explain"]), (reader, ["read"])):
        prefix, secret = keys.split(one)
        factories.api_key(prefix=prefix, secret=secret, scopes=scopes)
    serve()
    body = question(slot, explain=True, context={"country": "DE"})
    assert "explain" not in ask("POST", "/v1/decisions", body).json
    assert "explain" not in ask("POST", "/v1/decisions", body, AUTHORIZATION=f"Bearer {reader}").json
    told = ask("POST", "/v1/decisions", body, AUTHORIZATION=f"Bearer {key}").json["explain"]
    assert set(told["versions"]) == {"snapshot", "matcher", "blender", "encoder"}
    lines = {line["creative_id"]: line for line in told["placements"]["a"]["candidates"]}
    assert lines[str(ours.public_id)]["reason"] is None
    assert lines[str(theirs.public_id)]["reason"] == "outbid"
    assert lines[str(other.public_id)]["reason"] == "wrong_country"
    (pick,) = told["placements"]["a"]["picks"]
    assert pick["price_micros"] <= pick["bid_micros"] == lines[str(ours.public_id)]["bid_micros"]


def test_pages_of_our_sites_may_read_the_answer_and_no_others(serve, ask) -> None:
    slot = m.slot(site_=factories.site(domain="news.example"))
    serve()
    for origin, allowed in (
        ("https://news.example", True),
        ("https://www.news.example", True),
        ("https://evilnews.example", False),
        ("https://news.example.evil.test", False),
        ("null", False),
    ):
        for method, body in (("OPTIONS", None), ("POST", question(slot))):
            reply = ask(method, "/v1/decisions", body, ORIGIN=origin)
            assert (reply.headers.get("Access-Control-Allow-Origin") == origin) is allowed, (origin, method)
            assert reply.headers["Vary"] == "Origin"


def test_several_placements_show_no_creative_twice(serve, ask) -> None:
    ads = {str(m.ad().public_id) for _ in range(3)}
    slot, other = m.slot(), m.slot()
    serve()
    body = {
        "placements": [{"id": "a", "slot": slot.public_id, "count": 2}, {"id": "b", "slot": other.public_id}]
    }
    placements = ask("POST", "/v1/decisions", body).json["placements"]
    shown = [ad["creative_id"] for one in ("a", "b") for ad in placements[one]["ads"]]
    assert sorted(shown) == sorted(ads)


def test_without_valkey_it_serves_by_context(serve, ask) -> None:
    from adplatform.events.stream import connect
    from adplatform.serving.counters import Visitors

    m.ad()
    slot = m.slot()
    market = serve()
    market.server.visitors = Visitors(connect("redis://127.0.0.1:1/0", timeout_seconds=0.01))
    reply = ask("POST", "/v1/decisions", question(slot, user={"id": "reader", "consent": m.AGREED}))
    assert (reply.status, reply.json["mode"]) == (200, "contextual")
    assert len(reply.json["placements"]["a"]["ads"]) == 1
    assert market.server.visitors.failures == 1


def test_a_frozen_valkey_costs_milliseconds_once_a_second(serve, ask) -> None:
    from adplatform.events.stream import EventStream, connect
    from adplatform.serving.counters import Visitors

    m.ad()
    slot = m.slot()
    market = serve()
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts in the kernel's queue and never answers
        port = mute.getsockname()[1]
        market.server.visitors = Visitors(connect(f"redis://127.0.0.1:{port}/0", timeout_seconds=0.01))
        market.server.stream = EventStream(
            connect(f"redis://127.0.0.1:{port}/0"), market.server.stream._spool
        )
        body = question(slot, user={"id": "reader", "consent": m.AGREED})
        for longest in (0.3, 0.1):
            started = time.perf_counter()
            reply = ask("POST", "/v1/decisions", body)
            assert time.perf_counter() - started < longest
            assert (reply.status, reply.json["mode"]) == (200, "contextual")
        (ad,) = reply.json["placements"]["a"]["ads"]
        started = time.perf_counter()
        assert ask("GET", ad["impression_url"].removeprefix("http://localhost:8000")).status == 200
        assert time.perf_counter() - started < 0.5
        assert market.server.stream.spooled == 1
