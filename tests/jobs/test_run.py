"""A slot runs to success at most once; every run leaves a row that says what it did."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection

from adplatform.accounts.models import Organisation
from adplatform.jobs import services
from adplatform.jobs.locks import job_lock
from adplatform.jobs.models import Job, JobRun
from adplatform.jobs.registry import UnknownJobError, job
from tests.factories import NOON
from tests.jobs.conftest import NAME, Counted

pytestmark = pytest.mark.django_db
Status, Trigger = JobRun.Status, JobRun.Trigger


def run(*, trigger: str = Trigger.SCHEDULE, **given: object) -> JobRun:
    return services.run(NAME, **{"slot": NOON, "at": NOON, "trigger": trigger} | given)


def test_a_run_says_what_it_did(counted: Counted) -> None:
    row = run(requested_by="ada@example.com", trigger=Trigger.CONSOLE)

    assert (row.status, row.summary, row.counts, row.error) == (
        Status.SUCCEEDED,
        "Counted 1.",
        {"runs": 1},
        "",
    )
    assert (row.slot, row.trigger, row.requested_by, row.attempt, row.is_dry_run) == (
        NOON,
        "console",
        "ada@example.com",
        1,
        False,
    )
    assert (row.progress_done, row.progress_total) == (2, 2)
    assert row.duration_seconds is not None
    assert 0 <= row.duration_seconds < 10
    assert Job.objects.get(pk=NAME).title == "Counted"
    assert Organisation.objects.count() == 1


def test_a_slot_that_succeeded_never_runs_again(counted: Counted) -> None:
    first = run()
    again = run(trigger=Trigger.COMMAND)
    assert again == first
    assert counted.slots == [NOON]


def test_another_slot_is_another_run(counted: Counted) -> None:
    run()
    run(slot=NOON + timedelta(minutes=5))
    assert JobRun.objects.filter(job=NAME, status=Status.SUCCEEDED).count() == 2


def test_a_failure_is_written_down_and_may_be_tried_again(counted: Counted) -> None:
    counted.error = ValueError("no bids today")

    row = run()

    assert (row.status, row.summary) == (Status.FAILED, "ValueError: no bids today")
    assert row.error.startswith("Traceback")
    assert row.error.rstrip().endswith("ValueError: no bids today")
    counted.error = None
    again = run()
    assert (again.pk, again.status, again.attempt, again.error) == (row.pk, Status.SUCCEEDED, 2, "")


def test_a_scheduled_slot_is_left_alone_after_three_attempts_but_a_person_may_insist(
    counted: Counted,
) -> None:
    counted.error = MemoryError()
    for _ in range(5):
        row = run()
    assert (row.attempt, len(counted.slots)) == (3, 3)
    counted.error = None
    assert run(trigger=Trigger.COMMAND).status == Status.SUCCEEDED


def test_an_interrupted_run_does_not_stay_open(counted: Counted) -> None:
    counted.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    row = JobRun.objects.get(job=NAME)
    assert (row.status, row.summary) == (Status.FAILED, "Interrupted (KeyboardInterrupt).")


def test_a_dry_run_leaves_its_row_and_nothing_else(counted: Counted) -> None:
    row = run(dry_run=True)

    assert (row.is_dry_run, row.status, row.summary) == (True, Status.SUCCEEDED, "Counted 1.")
    assert not Organisation.objects.exists()
    real = run()
    assert (real.pk != row.pk, real.status) == (True, Status.SUCCEEDED)


def test_while_another_process_runs_the_job_a_slot_is_skipped(counted: Counted) -> None:
    with job_lock(NAME):
        row = run()
    assert (row.status, row.summary, counted.slots) == (
        Status.SKIPPED,
        "Skipped: an earlier run is still going.",
        [],
    )
    assert run().status == Status.SUCCEEDED


def test_while_another_process_runs_the_slot_its_row_is_returned(counted: Counted) -> None:
    theirs = JobRun.objects.create(
        job=Job.objects.create(name=NAME, title="Counted"), slot=NOON, started_at=NOON
    )
    with job_lock(NAME):
        assert run() == theirs
    theirs.refresh_from_db()
    assert theirs.status == Status.RUNNING


def test_a_run_whose_process_died_is_recognised_by_its_free_lock(counted: Counted) -> None:
    dead = JobRun.objects.create(
        job=Job.objects.create(name=NAME, title="Counted"), slot=NOON, started_at=NOON
    )

    run(slot=NOON + timedelta(hours=1))

    dead.refresh_from_db()
    assert (dead.status, dead.summary) == (Status.FAILED, "Its process died before the end.")
    assert run().attempt == 2


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownJobError, match="no job called 'nonsense'"):
        services.run("nonsense", slot=NOON, at=NOON, trigger=Trigger.COMMAND)


def test_two_jobs_do_not_share_a_name(counted: Counted) -> None:
    with pytest.raises(ValueError, match="two jobs"):
        job(NAME, title="Another")(Counted())


@pytest.mark.django_db(transaction=True)
def test_two_schedulers_are_harmless(counted: Counted) -> None:
    barrier, rows = threading.Barrier(5), []

    def start() -> None:
        try:
            barrier.wait()
            rows.append(run())
        finally:
            connection.close()

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counted.slots == [NOON]
    row = JobRun.objects.get(job=NAME)
    assert (row.status, row.attempt, len(rows)) == (Status.SUCCEEDED, 1, 5)
