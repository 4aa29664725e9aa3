"""What a subject is given: every part with what it means, nothing of anybody else, and no secret."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from adplatform.core import clock
from tests import factories
from tests.privacy import people

pytestmark = pytest.mark.django_db


def exported(who: str) -> Any:
    out = StringIO()
    call_command("subject_export", who, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_visitor_gets_all_that_is_held(events, hot) -> None:
    at = clock.now() - timedelta(hours=1)
    name = people.known("anna", at=at, events=events, hot=hot)
    people.known("bert", at=at, events=events, hot=hot)
    found = exported("anna")
    assert found["pseudonym"] == name
    assert {part: len(told["rows"]) for part, told in found["visitor"].items()} == dict.fromkeys(
        [
            *("profile", "consents", "reads", "segments", "vectors", "picks"),
            *("addecision", "impression", "view", "click", "conversion", "feedback"),
            *("valkey_visitor", "valkey_cap", "valkey_hide"),
        ],
        1,
    )
    assert all(told["meaning"] for told in found["visitor"].values())
    assert found["visitor"]["reads"]["rows"][0]["text"] == "fishing, boats"
    assert found["person"] == {}


def test_nothing_is_held_of_a_stranger(events, hot) -> None:
    assert exported("nobody")["visitor"] == {}


def test_a_person_with_an_account_is_found_by_the_address(events, hot) -> None:
    membership = factories.member()
    factories.audit_entry(membership.organisation, user=membership.user)
    person = exported(membership.user.email.upper())["person"]
    assert person["account"]["rows"][0]["email"] == membership.user.email
    assert "password" not in person["account"]["rows"][0]
    assert (
        len(person["accounts.membership.user"]["rows"])
        == len(person["accounts.auditentry.user"]["rows"])
        == 1
    )
