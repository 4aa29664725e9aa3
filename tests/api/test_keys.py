"""A key opens what its scopes say, of its own organisation, while it lives."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from adplatform.accounts.models import ApiKey
from adplatform.core import clock
from tests import factories
from tests.api.calls import Caller, advertiser

pytestmark = pytest.mark.django_db


def test_a_live_key_is_told_whose_it_is() -> None:
    caller = advertiser(name="Cascade")
    answer = caller.get("organisation")
    assert (answer.status_code, answer.json()["name"]) == (200, "Cascade")
    assert ApiKey.objects.get().last_used_at is not None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer adp_0.x", "Basic YTpi", "Bearer \x00"])
def test_without_a_key_nothing_is_told(client: Client, header: str) -> None:
    answer = client.get("/api/v1/campaigns", headers={"Authorization": header})
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    assert answer.json()["code"] == "unauthorized"
    assert "Bearer" in answer["WWW-Authenticate"]


@pytest.mark.parametrize("end", ["revoked_at", "expires_at"])
def test_a_key_that_has_ended_is_no_key(end: str) -> None:
    caller = advertiser()
    ApiKey.objects.update(**{end: clock.now() - timedelta(seconds=1)})
    assert caller.get("campaigns").status_code == 401


def test_a_signed_in_person_without_a_key_is_nobody(client: Client) -> None:
    client.force_login(factories.member().user)
    assert client.get("/api/v1/campaigns").status_code == 401


def test_a_key_does_only_what_its_scopes_say() -> None:
    caller = Caller(factories.organisation(), ["read"])
    answer = caller.post("campaigns", {"name": "A", "start_at": "2026-06-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert caller.get("campaigns").json() == {"items": [], "count": 0}


def test_a_key_of_the_other_kind_is_told_so() -> None:
    caller = Caller(factories.publisher())
    answer = caller.get("campaigns")
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_kind")
    assert advertiser().get("slots").json()["code"] == "wrong_kind"


def test_the_api_describes_itself(client: Client) -> None:
    document = client.get("/api/v1/openapi.json").json()
    assert document["info"] == {
        "title": "AdPlatform",
        "version": "1",
        "description": document["info"]["description"],
    }
    assert {"/api/v1/campaigns", "/api/v1/slots", "/api/v1/reports", "/api/v1/conversions"} <= document[
        "paths"
    ].keys()
    assert document["components"]["securitySchemes"]
