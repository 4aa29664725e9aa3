"""A budget of 10.00, a price of 0.01, 64 clients at once, 5,000 clicks: exactly 1,000 are billed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from adplatform.campaigns.models import Budget
from adplatform.events import ingest
from adplatform.events.models import Click, HourlyStat
from adplatform.events.records import pack
from adplatform.events.spool import Spool
from adplatform.events.stream import EventStream
from tests import factories
from tests.events import streams

PRICE, BUDGET, CLICKS = 10_000, 10_000_000, 5_000


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("clicks", [1_500, pytest.param(CLICKS, marks=pytest.mark.long)])
def test_exactly_what_the_budget_pays_for_is_billed(tmp_path: Any, events: Any, clicks: int) -> None:
    campaign = factories.campaign(flight_budget_micros=BUDGET, daily_budget_micros=None)
    ad = streams.served(factories.creative(factories.line_item(campaign)), charge_micros=PRICE)
    stream = EventStream(events, Spool(tmp_path))
    served = [streams.again(ad) for _ in range(clicks)]
    sent = [pack(streams.event("click", one, after=3 + number % 50)) for number, one in enumerate(served)]
    with ThreadPoolExecutor(64) as clients:
        list(clients.map(stream.append, [*sent, *sent[::20]]))  # one in twenty comes twice

    def drain(consumer: str) -> None:
        try:
            while ingest.drain(
                events, granted=lambda ids: dict.fromkeys(ids, streams.PLENTY), consumer=consumer, limit=150
            ):
                pass
        finally:
            connection.close()

    ingest.prepare(events)
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(drain, ("a", "b")))
    found = Counter(Click.objects.values_list("is_billable", "reason"))
    assert found == {(True, ""): 1_000, (False, "budget_spent"): clicks - 1_000}
    assert Click.objects.aggregate(micros=Sum("charge_micros"))["micros"] == BUDGET
    assert Budget.objects.get(campaign=campaign, date=None).spent_micros == BUDGET
    assert HourlyStat.objects.aggregate(micros=Sum("spend_micros"))["micros"] == BUDGET
