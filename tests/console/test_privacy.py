"""An operator hands out and forgets; it is asked first and noted without the id."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client

from adplatform.accounts.models import AuditEntry
from adplatform.audience.models import Erasure, Visitor
from adplatform.core import clock
from tests import factories
from tests.privacy import people

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_log")]
PAGE = "/console/privacy/"
WHO = "anna@example.org"


@pytest.fixture
def _log(settings, tmp_path) -> None:
    settings.ERASURES_DIR = str(tmp_path)


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(factories.operator())
    return client


def test_it_opens_empty_and_exists_for_operators_only(console, client, hot, events) -> None:
    assert "Nothing is overdue" in console.get(PAGE).content.decode()
    client.force_login(factories.user())
    for path in ("", "export/", "erase/"):
        answer = client.post(PAGE + path, {"subject": WHO}) if path else client.get(PAGE)
        assert answer.status_code == 404


def test_a_file_is_handed_out(console, hot, events) -> None:
    people.known(WHO, at=clock.now() - timedelta(hours=1), events=events, hot=hot)
    answer = console.post(PAGE + "export/", {"subject": WHO})
    assert "profile" in json.loads(answer.content)["visitor"]
    assert answer["Cache-Control"] == "no-store"
    assert (AuditEntry.objects.get().action, WHO in AuditEntry.objects.get().target) == (
        "subject.exported",
        False,
    )


def test_it_asks_before_it_forgets(console, hot, events) -> None:
    people.known(WHO, at=clock.now() - timedelta(hours=1), events=events, hot=hot)
    asked = console.post(PAGE + "erase/", {"subject": WHO})
    assert "cannot be undone" in asked.content.decode()
    assert (Visitor.objects.count(), Erasure.objects.count()) == (1, 0)

    console.post(PAGE + "erase/", {"subject": WHO, "confirmed": "1"})

    assert (Visitor.objects.count(), Erasure.objects.count()) == (0, 1)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.target) == ("subject.erased", Erasure.objects.get().subject)
    assert WHO not in json.dumps(entry.detail)


def test_nothing_written_is_a_mistake_that_is_told(console, hot, events) -> None:
    answer = console.post(PAGE + "erase/", {"subject": " "})
    assert answer.status_code == 422
    assert "This field is required" in answer.content.decode()
