"""Who is decided for, who waits, who hears at once that there is no ad; and what a decision goes without when it is late."""

from __future__ import annotations

import threading
import time

import pytest

from adplatform.serving import admission, deadline
from adplatform.serving.admission import Admission
from adplatform.serving.deadline import Deadline, ModelRest, TooLateError
from tests.serving import market as m


def test_two_are_at_work_and_a_third_waits_for_its_place() -> None:
    door = Admission()
    assert door.enter()
    assert door.enter()
    entered: list[bool] = []
    third = threading.Thread(target=lambda: entered.append(door.enter()))
    third.start()
    while not door.waiting:
        time.sleep(0.001)
    assert entered == []
    door.leave(0.001)
    third.join()
    assert entered == [True]
    assert door.waiting == 0


def test_who_would_wait_too_long_hears_at_once() -> None:
    door = Admission()
    door.mean_seconds = 4 * admission.LONGEST_WAIT_SECONDS
    assert door.enter()
    assert door.enter()
    started = time.perf_counter()
    assert not door.enter()
    assert time.perf_counter() - started < admission.LONGEST_WAIT_SECONDS / 2


def test_no_one_waits_longer_than_the_longest_wait() -> None:
    door = Admission(at_once=1)
    assert door.enter()
    started = time.perf_counter()
    assert not door.enter()
    assert time.perf_counter() - started >= admission.LONGEST_WAIT_SECONDS
    door.leave(0.001)
    assert door.enter()


@pytest.mark.django_db
def test_a_full_house_sheds_decisions_and_still_takes_events(serve, ask) -> None:
    m.ad()
    slot = m.slot()
    market = serve()
    body = {"placements": [{"id": "a", "slot": slot.public_id}, {"id": "b", "slot": slot.public_id}]}
    (ad,) = ask("POST", "/v1/decisions", body).json["placements"]["a"]["ads"]
    for _ in range(admission.AT_ONCE):
        assert market.server.admission.enter()
    market.server.admission.mean_seconds = 1.0
    shed = ask("POST", "/v1/decisions", body)
    assert (shed.status, shed.json["mode"]) == (200, "shed")
    assert shed.json["placements"] == {
        "a": {"ads": [], "no_ad": "shed"},
        "b": {"ads": [], "no_ad": "shed"},
    }
    assert ask("POST", "/v1/decisions", b"rubbish").json["placements"] == {}
    assert b'adplatform_decisions_total{kind="shed"} 2' in ask("GET", "/metrics").body
    assert ask("GET", ad["impression_url"].removeprefix("http://localhost:8000")).status == 200
    assert market.events.xlen("events") == 1
    for _ in range(admission.AT_ONCE):
        market.server.admission.leave(0.001)
    assert ask("POST", "/v1/decisions", body).json["mode"] == "contextual"


def test_trees_are_left_out_when_time_runs_out_and_then_everything() -> None:
    now, rest = time.perf_counter(), ModelRest()
    assert Deadline(now, rest).begin()
    assert not Deadline(now - deadline.MODEL_SECONDS, rest).begin()
    with pytest.raises(TooLateError):
        Deadline(now - deadline.LAST_SECONDS, rest).begin()


def test_slow_trees_rest_and_rest_longer_each_time() -> None:
    rest = ModelRest()
    rest.took(0.06, now=10.0)
    assert (rest.until, rest.slow) == (11.0, 1)
    rest.took(0.06, now=11.0)
    assert (rest.until, rest.slow) == (13.0, 2)
    rest.took(0.001, now=20.0)  # well again for longer than it rested
    rest.took(0.06, now=20.0)
    assert rest.until == 21.0


@pytest.mark.django_db
def test_an_answer_that_comes_too_late_is_no_ad(serve, ask, monkeypatch) -> None:
    m.ad()
    body = {"placements": [{"id": "a", "slot": m.slot().public_id}]}
    serve()
    monkeypatch.setattr(deadline, "LAST_SECONDS", -1.0)  # everything comes later than this
    reply = ask("POST", "/v1/decisions", body)
    assert (reply.status, reply.json["mode"]) == (200, "late")
    assert reply.json["placements"] == {"a": {"ads": [], "no_ad": "late"}}
