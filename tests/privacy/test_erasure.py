"""Forgetting a visitor: profile and keys go, facts and money stay and belong to nobody; late and restored ones too."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from adplatform.audience.models import Behaviour, Consent, Erasure, Visitor
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.events import dead_letters
from adplatform.events.models import AdDecision, Click, Conversion, Feedback, Impression, View
from adplatform.events.records import pack
from adplatform.learning.models import Pick, VisitorVector
from adplatform.privacy import erasure, log
from adplatform.privacy.facts import TABLES
from tests.events import streams
from tests.privacy import people

pytestmark = pytest.mark.django_db
WHO = "anna@example.org"
FACTS = (AdDecision, Impression, View, Click, Conversion, Feedback)
EARLIER = clock.now() - timedelta(hours=1)


def run(name: str, *arguments: str) -> Any:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return json.loads(out.getvalue())


def everything() -> str:
    """Every value of every table, as a dump would hold it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        tables = [name for (name,) in cursor.fetchall()]
        cursor.execute(" UNION ALL ".join(f"SELECT t::text FROM {name} t" for name in tables))
        return "\n".join(row for (row,) in cursor.fetchall())


def test_nothing_is_left_and_every_fact_still_counts(events, hot) -> None:
    name = people.known(WHO, at=EARLIER, events=events, hot=hot)
    spent = Click.objects.get().charge_micros
    assert name in everything()

    done = run("subject_erase", WHO, "--json")

    assert done["erased"] == {
        **{table.name: 1 for table in TABLES},
        **{"profile": 1, "consents": 1, "reads": 1, "segments": 1, "vectors": 1, "picks": 1, "valkey": 3},
    }
    assert [model.objects.count() for model in FACTS] == [1] * 6
    assert {model.objects.get().visitor for model in FACTS} == {""}
    assert AdDecision.objects.get().keywords == ""
    assert Click.objects.get().charge_micros == spent > 0
    assert not any(model.objects.exists() for model in (Visitor, Consent, Behaviour, Pick, VisitorVector))
    assert hot.keys(f"*{name}*") == []
    assert name not in everything()
    assert WHO not in everything() + log.path().read_text()


def test_a_second_run_finds_nothing(events, hot) -> None:
    people.known(WHO, at=EARLIER, events=events, hot=hot)
    run("subject_erase", WHO, "--json")
    out = StringIO()
    call_command("subject_erase", WHO, stdout=out)
    assert out.getvalue() == "Nothing held.\n"
    assert Erasure.objects.count() == 1


def test_others_keep_what_is_theirs(events, hot) -> None:
    people.known(WHO, at=EARLIER, events=events, hot=hot)
    other = people.known("bert", at=EARLIER, events=events, hot=hot)
    run("subject_erase", WHO, "--json")
    assert {model.objects.exclude(visitor="").get().visitor for model in FACTS} == {other}
    assert len(hot.keys(f"*{other}*")) == 3


def test_late_events_are_stored_without_him_and_dead_letters_lose_him(events, hot) -> None:
    late = people.visit(WHO, at=EARLIER)
    dead_letters.bury(events, pack(late[0]), "no such table")
    run("subject_erase", WHO, "--json")
    streams.append(events, *late)  # as a spool is replayed

    streams.drain(events, at=clock.now())

    assert (AdDecision.objects.count(), Click.objects.count(), Feedback.objects.count()) == (1, 1, 1)
    assert {AdDecision.objects.get().visitor, Click.objects.get().visitor} == {""}
    assert not Visitor.objects.exists()
    (letter,) = dead_letters.waiting(events)
    assert (pseudonym(WHO) in letter.words, letter.error) == (False, "no such table")


def test_who_comes_back_begins_anew(events, hot) -> None:
    run("subject_erase", WHO, "--json")
    streams.append(events, *people.visit(WHO, at=clock.now() + timedelta(minutes=1)))
    streams.drain(events, at=clock.now())
    assert Visitor.objects.get().pseudonym == pseudonym(WHO)
    assert erasure.held_of_erased() == {}


def test_a_restored_backup_forgets_again(events, hot) -> None:
    run("subject_erase", WHO, "--json")
    Erasure.objects.all().delete()  # a dump of before the erasure knows neither the log …
    people.known(WHO, at=EARLIER, events=events, hot=hot)  # … nor that he is gone

    with pytest.raises(Exception, match="erased and are held again"):
        call_command("retention", "--check", stdout=StringIO())
    call_command("retention", stdout=StringIO())

    assert pseudonym(WHO) not in everything()
    assert hot.keys(f"*{pseudonym(WHO)}*") == []
    call_command("retention", "--check", stdout=StringIO())


def test_keys_that_a_process_wrote_late_go_with_the_next_night(events, hot) -> None:
    run("subject_erase", WHO, "--json")
    hot.hset(f"cap:{pseudonym(WHO)}", "campaign:1:3600:1", 1)
    assert erasure.apply_again() == {"valkey": 1}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events_click SET charge_micros = 0, visitor = ''",
        "UPDATE events_click SET visitor = 'somebody else'",
        "UPDATE events_addecision SET keywords = 'better'",
        "DELETE FROM events_click",
    ],
)
def test_facts_let_themselves_be_emptied_and_nothing_else(events, hot, statement: str) -> None:
    people.known(WHO, at=EARLIER, events=events, hot=hot)
    with pytest.raises(DatabaseError, match="only ever added"), transaction.atomic():
        connection.cursor().execute(statement)


def test_workers_may_empty_them_and_the_application_may_not(events, hot) -> None:
    people.known(WHO, at=EARLIER, events=events, hot=hot)
    for role, column in (
        ("adplatform_app", "visitor"),
        ("adplatform_app", "charge_micros"),
        ("adplatform_worker", "charge_micros"),
    ):
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(f"SET LOCAL ROLE {role}; UPDATE events_click SET {column} = NULL")
    with transaction.atomic():
        connection.cursor().execute("SET LOCAL ROLE adplatform_worker; UPDATE events_click SET visitor = ''")
    assert Click.objects.get().visitor == ""
