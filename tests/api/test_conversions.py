"""Conversions server to server: once per event id, each event with its own result, by key or by signature."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client

from adplatform.api.auth import signature
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.events.models import Conversion, HourlyStat
from tests import factories
from tests.api.calls import Caller, advertiser

pytestmark = pytest.mark.django_db
PATH = "/v1/conversions"
EVENT: dict[str, Any] = {
    "event_id": "order-1",
    "action": "Purchase",
    "occurred_at": "2026-06-15T12:00:00Z",
    "value_micros": 49_000_000,
}


@pytest.fixture
def caller() -> Caller:
    made = advertiser()
    factories.conversion_action(made.organisation, name="Purchase")
    return made


def report(caller: Caller, *events: Any, path: str = PATH) -> dict[str, Any]:
    answer = caller.call("POST", path, {"events": list(events)})
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_conversion_is_recorded_once(caller: Caller) -> None:
    assert report(caller, EVENT)["results"] == [
        {"event_id": "order-1", "status": "recorded", "reason": "", "attribution": "none"}
    ]
    again = report(caller, EVENT, path="/api/v1/conversions")
    assert (again["recorded"], again["duplicates"]) == (0, 1)
    conversion = Conversion.objects.get()
    assert (conversion.value_micros, conversion.currency) == (49_000_000, "USD")


def test_a_conversion_is_credited_to_the_click_of_the_same_person(caller: Caller) -> None:
    creative = factories.creative(factories.line_item(factories.campaign(caller.organisation)))
    decision = factories.decision(creative, visitor=pseudonym("customer-7"))
    factories.click(decision)
    event = EVENT | {"user_id": "customer-7", "occurred_at": "2026-06-16T12:00:00Z"}
    assert report(caller, event)["results"][0]["attribution"] == "click"
    assert Conversion.objects.get().campaign_id == creative.line_item.campaign_id
    assert HourlyStat.objects.get().revenue_micros == 49_000_000


def test_one_mistake_rejects_no_other_event(caller: Caller) -> None:
    events = [
        EVENT | {"event_id": "a"},
        EVENT | {"event_id": "b", "occurred_at": "2026-06-15T12:00:00"},
        EVENT | {"event_id": "c", "action": "Nothing"},
        "nonsense",
        EVENT | {"event_id": "d", "value_micros": -1},
        EVENT | {"event_id": "e", "value_micros": 1.5},
        EVENT | {"event_id": "f", "currency": "EUR"},
        EVENT | {"event_id": "g", "surprise": 1},
        EVENT | {"event_id": "a"},
        EVENT | {"event_id": "h", "click_id": "forged"},
    ]
    answer = report(caller, *events)
    assert [one["status"] for one in answer["results"]] == [
        *(
            "recorded",
            "rejected",
            "rejected",
            "rejected",
            "rejected",
            "rejected",
            "rejected",
            "rejected",
            "duplicate",
            "recorded",
        )
    ]
    assert (answer["recorded"], answer["duplicates"], answer["rejected"]) == (2, 1, 7)
    assert answer["results"][1]["reason"].startswith("invalid_event: occurred_at")
    assert answer["results"][2]["reason"] == "unknown_action"
    assert set(Conversion.objects.values_list("event_id", flat=True)) == {"a", "h"}


@pytest.mark.parametrize("body", [{}, {"events": []}, {"events": "x"}, {"events": [EVENT] * 1_001}])
def test_an_envelope_that_cannot_be_read_is_refused(caller: Caller, body: Any) -> None:
    assert caller.call("POST", PATH, body).status_code == 422
    assert not Conversion.objects.exists()


def test_without_key_or_scope_nothing_is_recorded(client: Client, caller: Caller) -> None:
    assert client.post(PATH, {"events": [EVENT]}, content_type="application/json").status_code == 401
    reader = Caller(caller.organisation, ["read"])
    assert reader.call("POST", PATH, {"events": [EVENT]}).status_code == 403
    assert not Conversion.objects.exists()


def test_another_advertisers_action_is_unknown(caller: Caller) -> None:
    assert report(advertiser(), EVENT)["results"][0]["reason"] == "unknown_action"


def test_the_same_event_id_of_two_advertisers_is_two_conversions(caller: Caller) -> None:
    other = advertiser()
    factories.conversion_action(other.organisation, name="Purchase")
    assert report(caller, EVENT)["recorded"] == report(other, EVENT)["recorded"] == 1


def signed(
    client: Client,
    caller: Caller,
    *,
    stamp: str | None = None,
    tamper: bytes = b"",
    secret: str | None = None,
) -> int:
    secret = secret or caller.get("signing-secret").json()["secret"]
    stamp = stamp or str(int(time.time()))
    body = json.dumps({"events": [EVENT]}).encode()
    headers = {
        "X-AdPlatform-Key": caller.key.prefix,
        "X-AdPlatform-Timestamp": stamp,
        "X-AdPlatform-Signature": signature(secret, stamp, body),
    }
    return client.post(PATH, body + tamper, content_type="application/json", headers=headers).status_code


def test_a_signed_report_needs_no_key_on_the_way(client: Client, caller: Caller) -> None:
    assert signed(client, caller) == 200
    assert Conversion.objects.count() == 1


def test_a_wrong_old_or_tampered_signature_proves_nothing(client: Client, caller: Caller) -> None:
    old = str(int(time.time()) - 3_600)
    assert signed(client, caller, secret="0" * 64) == 401
    assert signed(client, caller, stamp=old) == 401
    assert signed(client, caller, stamp="٣") == 401
    assert signed(client, caller, tamper=b" ") == 401
    # What the database keeps of the key is not enough to sign.
    assert signed(client, caller, secret=caller.key.secret_sha256) == 401
    assert not Conversion.objects.exists()


def test_a_revoked_key_signs_nothing(client: Client, caller: Caller) -> None:
    secret = caller.get("signing-secret").json()["secret"]
    caller.key.revoked_at = clock.now()
    caller.key.save()
    assert signed(client, caller, secret=secret) == 401
