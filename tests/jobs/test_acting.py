"""On whose behalf tasks work: none without saying so, each behind its wall."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import shared_task
from django.db import DatabaseError, connection, transaction

from adplatform.billing.models import LowBalance
from adplatform.campaigns.models import Campaign
from adplatform.celery import app
from adplatform.core import clock, roles
from adplatform.core.tenants import current, platform, tenant, working
from adplatform.jobs import services
from adplatform.jobs.acting import ActsFor, UndecidedError
from adplatform.jobs.models import JobRun
from adplatform.jobs.registry import discover
from tests import factories
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON
from tests.jobs.test_processes import wait_for

# Tasks that a message names an organisation for; every other one works across organisations.
OF_ONE_ORGANISATION = {"mail_low_balance"}


def role() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


@pytest.fixture
def task() -> Iterator[Callable[..., Any]]:
    """Makes tasks of a function, and forgets them."""
    names = []

    def make(function: Callable[..., Any], **options: Any) -> Any:
        names.append(f"test_task_{len(names)}")
        return shared_task(name=names[-1], **options)(function)

    yield make
    for name in names:
        app.tasks.pop(name, None)


def test_every_task_says_for_whom_it_works() -> None:
    jobs = discover()
    told = {name: one.acts_for for name, one in app.tasks.items() if not name.startswith("celery.")}
    assert None not in told.values()
    assert told.keys() >= jobs.keys()
    assert {name for name, whom in told.items() if whom == ActsFor.ORGANISATION} == OF_ONE_ORGANISATION


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, {}), ({}, {"organisation": 1}), ({"acts_for": ActsFor.ORGANISATION}, {})],
)
def test_one_that_does_not_say_is_refused_before_its_first_line(
    task: Any, options: dict[str, Any], message: dict[str, int]
) -> None:
    def never(**_: object) -> None:
        raise AssertionError("it ran")

    with pytest.raises(UndecidedError, match="does not say for whom"):
        task(never, **options)(**message)


@pytest.mark.django_db
def test_one_for_an_organisation_sees_and_changes_its_rows_alone(task: Any) -> None:
    ours, theirs = factories.campaign(), factories.campaign()

    def rename(*, organisation: int, **_: object) -> tuple[str, list[int], int]:
        assert current() == organisation
        return role(), list(Campaign.objects.values_list("pk", flat=True)), Campaign.objects.update(name="x")

    answer = task(rename, acts_for=ActsFor.ORGANISATION)(organisation=ours.organisation_id)
    assert answer == (roles.APP, [ours.pk], 1)
    theirs.refresh_from_db()
    assert theirs.name != "x"
    assert current() is None


@pytest.mark.django_db
def test_one_for_the_platform_works_across_organisations_and_changes_no_fact(task: Any) -> None:
    ours, theirs = factories.campaign(), factories.campaign()
    login = role()

    def count(**_: object) -> tuple[str, set[int]]:
        with tenant(ours.organisation):
            assert role() == roles.APP
            with platform():
                assert role() == roles.WORKER
        assert role() == roles.WORKER
        return role(), set(Campaign.objects.values_list("pk", flat=True))

    assert task(count, acts_for=ActsFor.PLATFORM)() == (roles.WORKER, {ours.pk, theirs.pk})
    assert role() == login


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events_click SET charge_micros = 0",
        "DELETE FROM billing_entry",
        "ALTER TABLE billing_entry DISABLE TRIGGER ALL",
        "TRUNCATE billing_posting",
    ],
)
def test_what_happened_and_what_was_booked_stays_as_it_is(task: Any, statement: str) -> None:
    def change(**_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    with pytest.raises(DatabaseError, match=r"permission denied|must be owner"), transaction.atomic():
        task(change, acts_for=ActsFor.PLATFORM)()


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_is_opened_on_the_way_takes_the_role_on_and_none_keeps_it() -> None:
    login = role()
    with working():
        assert role() == roles.WORKER
        connection.close()  # as after an error
        assert role() == roles.WORKER
    assert role() == login


@pytest.mark.django_db
def test_the_jobs_get_along_with_the_workers_role() -> None:
    market = Market(deposit=100 * MICROS)
    market.charge(9 * MICROS)
    for name, job in discover().items():
        if job.queue == "gpu":  # the demo's worker runs these
            continue
        with working():
            run = services.run(
                name, slot=NOON + timedelta(hours=1), at=NOON + timedelta(hours=1), trigger="schedule"
            )
        assert run.status == JobRun.Status.SUCCEEDED, (name, run.summary, run.error)


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_runs_both_kinds(live_worker: object) -> None:
    market = Market(deposit=10 * MICROS)
    owner = factories.member(market.advertiser)
    market.charge(9 * MICROS, at=clock.now() - timedelta(hours=2))
    services.seed_schedules()
    slot = services.enqueue("watch_balances", owner.user)
    low = wait_for(lambda: LowBalance.objects.exclude(mailed_at=None).first())
    assert low.organisation_id == market.advertiser.pk
    assert JobRun.objects.get(job="watch_balances", slot=slot).summary == "1 run short, 0 have enough again."
