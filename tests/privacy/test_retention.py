"""What is old is forgotten, rule by rule, and checks say what is overdue."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.core import clock
from adplatform.events.models import AdDecision, Click
from adplatform.jobs import services
from adplatform.jobs.models import JobRun
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hot", "events")]


def days_ago(n: float) -> Any:
    return clock.now() - timedelta(days=n)


def run(*arguments: str) -> dict[str, int]:
    out = StringIO()
    call_command("retention", "--json", *arguments, stdout=out)
    return {one["rule"]: one["rows"] for one in json.loads(out.getvalue())["rules"]}


def fact(days: float, **fields: Any) -> AdDecision:
    decided = factories.decision(
        served_at=days_ago(days), **{"visitor": "v" * 32, "keywords": "boats"} | fields
    )
    factories.click(decided, visitor=decided.visitor)
    return decided


def test_raw_goes_after_a_month_and_the_pseudonym_after_thirteen() -> None:
    young, month, old = fact(28), fact(31), fact(400)
    assert run("--dry-run") == {"page_words": 2, "pseudonyms_addecision": 1, "pseudonyms_click": 1}
    run()
    told = {one.pk: (one.visitor[:1], one.keywords) for one in AdDecision.objects.all()}
    assert told == {young.pk: ("v", "boats"), month.pk: ("v", ""), old.pk: ("", "")}
    assert Click.objects.get(decision_id=old.pk).visitor == ""
    assert run() == {}


def test_the_limits_are_settings(settings) -> None:
    settings.RETENTION_RAW_DAYS = 10
    fact(12)
    assert run() == {"page_words": 1}


def test_data_sets_and_the_demo_market_stay_as_they_are() -> None:
    fact(500, source="demo")
    assert run() == {}


def test_reads_replaced_consents_and_lost_visitors_go() -> None:
    seen = factories.visitor(last_seen_at=days_ago(1), source="live")
    lost = factories.visitor(last_seen_at=days_ago(400), source="live")
    for visitor in (seen, lost):
        factories.behaviour(visitor, kind="read", occurred_at=days_ago(40))
        factories.consent(visitor, at=days_ago(40), evidence="FIRST")
        factories.consent(visitor, at=days_ago(39), evidence="NEWEST")
    kept = factories.behaviour(seen, kind="purchase", occurred_at=days_ago(40))
    run()
    assert list(Visitor.objects.all()) == [seen]
    assert list(Behaviour.objects.all()) == [kept]
    assert sorted(Consent.objects.values_list("evidence", flat=True)) == ["", "NEWEST"]


def test_a_check_changes_nothing_and_names_what_is_overdue() -> None:
    fact(31)
    with pytest.raises(CommandError, match="1 words of the pages") as refused:
        call_command("retention", "--check", stdout=StringIO())
    assert refused.value.returncode == 1
    assert AdDecision.objects.get().keywords == "boats"
    run()
    assert run("--check") == {}


def test_the_job_clears_a_day_ahead_so_that_a_check_finds_nothing_between_two_nights() -> None:
    fact(29.5)
    assert run("--check") == {}
    services.run("retention", at=clock.now(), slot=clock.now(), trigger="schedule")
    assert JobRun.objects.get().summary == "Cleared 1 words of the pages that decisions were made for."
