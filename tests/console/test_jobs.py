"""Run now, switch off, another schedule: each takes effect, each leaves its trace, a broken queue says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django_celery_beat.models import PeriodicTask

from adplatform.accounts.models import AuditEntry, User
from adplatform.console.schedules import form_for
from adplatform.core import clock
from adplatform.jobs import services
from adplatform.jobs.models import JobRun
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def op(client: Client) -> User:
    operator = factories.operator(name="Op One")
    client.force_login(operator)
    services.seed_schedules()
    return operator


def task() -> PeriodicTask:
    return PeriodicTask.objects.get(task="rollup")


def test_run_now_sends_the_job_to_its_queue(client: Client, op: User, hot: object) -> None:
    answer = client.post("/console/jobs/rollup/run/", {"from": "list"}, follow=True)
    assert answer.redirect_chain == [("/console/jobs/", 302)]
    assert "was sent to a worker" in answer.content.decode()
    assert AuditEntry.objects.get().action == "job.run"
    message = hot.lrange("default", 0, -1)
    assert len(message) == 1
    assert b"rollup" in message[0]


def test_a_job_is_switched_off_and_on_again(client: Client, op: User) -> None:
    client.post("/console/jobs/rollup/switch/")
    assert not task().enabled
    assert "switched off" in client.get("/console/jobs/").content.decode()
    client.post("/console/jobs/rollup/switch/")
    assert task().enabled
    actions = AuditEntry.objects.order_by("pk").values_list("action", "user")
    assert list(actions) == [("job.disabled", op.pk), ("job.enabled", op.pk)]


def test_an_interval_becomes_set_times_and_back(client: Client, op: User) -> None:
    form = {"kind": "crontab", "every": "5", "unit": "minutes", "times": "30 2 * * *", "enabled": "on"}
    client.post("/console/jobs/rollup/schedule/", form)
    assert (task().interval, str(task().crontab.hour), str(task().crontab.minute)) == (None, "2", "30")
    assert AuditEntry.objects.get().detail["schedule"] == ["every 5 minutes", "daily at 02:30 UTC"]
    assert form_for(task()).initial["times"] == "30 2 * * *"
    client.post(
        "/console/jobs/rollup/schedule/",
        form | {"kind": "interval", "every": "2", "unit": "hours", "enabled": ""},
    )
    assert (task().crontab, task().interval.every, task().enabled) == (None, 7_200, False)
    assert (form_for(task()).initial["every"], form_for(task()).initial["unit"]) == (2, "hours")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "crontab", "times": "every night"}, "Write five fields"),
        ({"kind": "crontab", "times": "99 2 * * *"}, "This is not a set of times"),
        ({"kind": "interval", "every": "1", "unit": "seconds"}, "at most every 5 seconds"),
        ({"kind": "interval", "every": ""}, "required"),
        ({"kind": "sometimes"}, "Select a valid choice"),
    ],
)
def test_a_schedule_that_makes_no_sense_changes_nothing(
    client: Client, op: User, change: dict[str, str], words: str
) -> None:
    form = {"kind": "interval", "every": "7", "unit": "minutes", "times": "0 2 * * *", "enabled": "on"}
    answer = client.post("/console/jobs/rollup/schedule/", form | change)
    assert (answer.status_code, words in answer.content.decode()) == (422, True)
    assert task().interval.every == 300
    assert not AuditEntry.objects.exists()


def test_the_list_says_what_each_job_did_last(client: Client, op: User) -> None:
    at = clock.now()
    job = factories.job("rollup")
    for minutes, seconds in ((30, 2), (20, 4), (10, 6)):
        began = at - timedelta(minutes=minutes)
        factories.job_run(
            job,
            started_at=began,
            finished_at=began + timedelta(seconds=seconds),
            summary="12 days rolled up.",
        )
    factories.job_run(
        job, status=JobRun.Status.FAILED, started_at=at, finished_at=at, summary="OperationalError: gone"
    )
    rows = {row.line.name: row for row in client.get("/console/jobs/").context["rows"]}
    row = rows["rollup"]
    assert (row.bars, row.p50, row.tone, row.words) == ("ooox", 4.0, "bad", "OperationalError: gone")
    assert timedelta(0) <= row.next_at - at <= timedelta(minutes=5, seconds=10)
    failing = client.get("/console/jobs/?show=failing").context["rows"]
    assert [row.line.name for row in failing] == ["rollup"]


def test_a_run_in_progress_shows_how_far_it_is(client: Client, op: User) -> None:
    job = factories.job("rollup")
    factories.job_run(
        job,
        status=JobRun.Status.RUNNING,
        started_at=clock.now(),
        finished_at=None,
        progress_done=42,
        progress_total=100,
    )
    text = client.get("/console/jobs/", headers={"HX-Request": "true"}).content.decode()
    assert "42%" in text
    assert "<html" not in text
