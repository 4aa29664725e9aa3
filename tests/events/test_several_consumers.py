"""Several ingest processes on one stream, whose batches speak of the same people, places, budgets and purses in any order."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from django.db import connection
from django.db.models import Sum

from adplatform.campaigns.models import Budget, Purse
from adplatform.events import dead_letters, ingest
from adplatform.events.models import AdDecision, Click, FillStat, HourlyStat
from tests import factories
from tests.events.streams import PLENTY, again, append, decision, event, served


@pytest.mark.django_db(transaction=True)
def test_they_never_wait_for_one_another_in_a_circle_and_count_everything_once(events) -> None:
    owners = [factories.organisation() for _ in range(4)]
    campaigns = [
        factories.campaign(organisation=owner, flight_budget_micros=150_000) for owner in owners for _ in "ab"
    ]
    slots = [factories.slot() for _ in range(3)]
    ads = [
        served(factories.creative(factories.line_item(campaign)), slot)
        for campaign in campaigns
        for slot in slots
    ]
    people = [uuid.uuid4().hex for _ in range(5)]
    clicks = [event("click", again(ad)) for ad in ads * 10]
    asked = [decision(slot, visitor=person) for slot in slots for person in people * 8]
    records = [*clicks, *asked, *clicks[::3]]
    Random(7).shuffle(records)
    append(events, *records)

    def drain(consumer: str) -> None:
        try:
            while ingest.drain(
                events, granted=lambda ids: dict.fromkeys(ids, PLENTY), consumer=consumer, limit=20
            ):
                pass
        finally:
            connection.close()

    ingest.prepare(events)
    with ThreadPoolExecutor(3) as workers:
        list(workers.map(drain, ("a", "b", "c")))  # a deadlock would be an error here
    assert (ingest.backlog(events), dead_letters.count(events)) == (0, 0)
    assert (Click.objects.count(), AdDecision.objects.count()) == (240, 120)
    assert FillStat.objects.aggregate(n=Sum("requests"))["n"] == 120
    # Of thirty clicks of a campaign its budget pays for fifteen.
    assert {row.spent_micros for row in Budget.objects.filter(date=None)} == {150_000}
    assert {row.spent_micros for row in Purse.objects.all()} == {300_000}
    assert HourlyStat.objects.aggregate(clicks=Sum("clicks"), micros=Sum("spend_micros")) == {
        "clicks": 240,
        "micros": 8 * 150_000,
    }
