"""What cannot be stored waits with its error, and is stored by a replay once the cause is gone."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from adplatform.events import dead_letters, ingest
from adplatform.events.models import Click
from adplatform.events.stream import FIELD, STREAM
from tests.events.streams import append, drain, event, served

pytestmark = pytest.mark.django_db


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("dead_letters", *arguments, stdout=out)
    return out.getvalue()


def test_a_letter_is_listed_with_its_error_and_replayed(events) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_click ADD CONSTRAINT no_dollars CHECK (currency <> 'USD')")
    append(events, event("click", served()))
    events.xadd(STREAM, {FIELD: b"\xc1 no record"})
    drain(events)
    assert (Click.objects.count(), dead_letters.count(events)) == (0, 2)
    unreadable, unstorable = map(json.loads, said("list", "--json").splitlines())
    assert ("cannot be read" in unreadable["error"], "no record" in unreadable["record"]) == (True, True)
    assert "no_dollars" in unstorable["error"]
    assert "TokenEvent(kind='click'" in unstorable["record"]

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_click DROP CONSTRAINT no_dollars")
    assert said("replay", unstorable["id"]) == "1 sent again\n"
    drain(events)
    assert Click.objects.get().charge_micros == 10_000

    assert said("replay") == "1 sent again\n"  # what is still no record comes back
    drain(events)
    assert said("list").endswith("1 dead letters\n")
    assert ingest.backlog(events) == 0
