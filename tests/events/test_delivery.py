"""Counted outcomes travel to the hours of delivery: each report once, sums exact, old hours folded into local days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.db import OperationalError, connection

from adplatform.events import dead_letters, delivery, ingest
from adplatform.events.models import DeliveryHour, TallyReport
from adplatform.events.records import Tallied, pack
from adplatform.events.stream import FIELD, STREAM
from adplatform.events.tasks import add_delivery, fold_delivery
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db
PROCESS = bytes(range(16))


def report(number: int, rows: list[list[int]], *, process: bytes = PROCESS, **fields) -> Tallied:
    given = {"hour": NOON, "source": "live", "outcomes": ["budget_spent", "outbid", "won"]} | fields
    return Tallied(process, number, given["hour"], given["source"], given["outcomes"], rows)


def carry(events: redis.Redis, *reports: Tallied) -> None:
    for one in reports:
        events.xadd(STREAM, {FIELD: pack(one)})
    while ingest.drain(events, granted=lambda owners: {}):
        pass
    delivery.add_up()


def run(job, *, dry_run: bool = False) -> dict[str, int]:
    return job(at=NOON, slot=NOON, dry_run=dry_run, progress=lambda done, total: None).counts


def outcomes() -> dict[tuple[int, str], dict[str, int]]:
    return {(row.line_item_id, row.source): row.outcomes for row in DeliveryHour.objects.all()}


def test_reports_of_several_processes_add_up_and_one_that_comes_twice_counts_once(
    events: redis.Redis,
) -> None:
    first = report(0, [[7, 3, 1, 5, 2, 1], [8, 3, 1, 0, 4, 0]])
    carry(events, first, first)
    carry(events, first, report(1, [[7, 3, 1, 0, 0, 9]]), report(0, [[7, 3, 1, 0, 1, 0]], process=b"x" * 16))
    assert outcomes() == {
        (7, "live"): {"budget_spent": 5, "outbid": 3, "won": 10},
        (8, "live"): {"outbid": 4},
    }
    row = DeliveryHour.objects.get(line_item_id=7)
    assert (row.campaign_id, row.advertiser_id, row.hour) == (3, 1, NOON)
    assert TallyReport.objects.count() == 3


def test_a_report_waits_until_it_is_added_and_one_that_cannot_be_is_a_dead_letter(
    events: redis.Redis,
) -> None:
    stored = report(0, [[7, 3, 1, 5, 2, 1]])
    for one in (stored, report(1, [[7, 3, 1, 5]]), report(2, [])):  # too few counts; nothing counted
        events.xadd(STREAM, {FIELD: pack(one)})
    while ingest.drain(events, granted=lambda owners: {}):
        pass
    assert (outcomes(), delivery.waiting(), dead_letters.count()) == ({}, 2, 1)
    assert run(add_delivery, dry_run=True) == {"reports": 2}
    assert run(add_delivery) == {"reports": 2}
    carry(events, stored)  # again, after it was added
    assert run(add_delivery) == {"reports": 0}
    assert outcomes() == {(7, "live"): {"budget_spent": 5, "outbid": 2, "won": 1}}


@pytest.mark.django_db(transaction=True)
def test_who_dies_while_adding_has_added_nothing(events: redis.Redis, monkeypatch) -> None:
    monkeypatch.setattr(delivery, "AT_ONCE", 1)
    carry(events, report(0, [[7, 3, 1, 0, 0, 1]]))
    for number in (1, 2):
        events.xadd(STREAM, {FIELD: pack(report(number, [[7, 3, 1, 0, 0, number]]))})
    ingest.drain(events, granted=lambda owners: {})
    with monkeypatch.context() as dying:
        dying.setattr(delivery, "_ADDED", "SELECT pg_terminate_backend(pg_backend_pid()), %s")
        with pytest.raises(OperationalError):
            delivery.add_up()
    connection.close()
    assert (outcomes(), delivery.waiting()) == ({(7, "live"): {"won": 1}}, 2)
    assert delivery.add_up() == 2
    assert outcomes() == {(7, "live"): {"won": 4}}


def test_sources_and_hours_stay_apart(events: redis.Redis) -> None:
    later = NOON + timedelta(hours=1)
    carry(
        events,
        report(0, [[7, 3, 1, 0, 0, 1]]),
        report(1, [[7, 3, 1, 0, 0, 2]], source="demo"),
        report(2, [[7, 3, 1, 4]], hour=later, outcomes=["paced_out"]),
    )
    assert outcomes()[7, "demo"] == {"won": 2}
    assert DeliveryHour.objects.get(hour=later).outcomes == {"paced_out": 4}


def test_old_hours_become_one_row_of_the_local_day_and_change_no_sum(events: redis.Redis) -> None:
    owner = factories.organisation(time_zone="America/New_York")
    hours = [datetime(2026, 5, 10, hour, tzinfo=UTC) for hour in (3, 4, 5, 23)]  # midnight there is 4:00
    for number, hour in enumerate(hours):
        carry(events, report(number, [[7, 3, owner.pk, number, 1, 0]], hour=hour))
    carry(events, report(9, [[7, 3, owner.pk, 1, 0, 0]]))
    assert run(fold_delivery, dry_run=True) == {"hours": 4}
    assert run(fold_delivery) == {"days": 2, "forgotten": 0}
    days = DeliveryHour.objects.order_by("hour").values_list("hour", "outcomes")
    assert list(days) == [
        (datetime(2026, 5, 9, 4, tzinfo=UTC), {"outbid": 1}),
        (datetime(2026, 5, 10, 4, tzinfo=UTC), {"budget_spent": 6, "outbid": 3}),
        (NOON, {"budget_spent": 1}),
    ]
    assert delivery.shrink(at=NOON) == (0, 0)
    assert TallyReport.objects.count() == 1
    carry(events, report(10, [[7, 3, owner.pk, 0, 2, 0]], hour=hours[1]))  # late, after its day was folded
    delivery.shrink(at=NOON)
    assert DeliveryHour.objects.get(hour=hours[1]).outcomes == {"budget_spent": 6, "outbid": 5}
    assert delivery.shrink(at=NOON + timedelta(days=500))[1] == 3
