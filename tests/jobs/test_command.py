"""`manage.py jobs`: exit 0, 1 for a run that failed, 2 for a name that does not exist."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from adplatform.jobs.locks import job_lock
from adplatform.jobs.models import JobRun
from tests.jobs.conftest import NAME, Counted

pytestmark = pytest.mark.django_db


def jobs(*arguments: str) -> str:
    out = StringIO()
    call_command("jobs", *arguments, stdout=out)
    return out.getvalue()


def test_list_names_every_job_with_its_schedule(counted: Counted) -> None:
    listed = {job["name"]: job for job in json.loads(jobs("list", "--json"))["jobs"]}
    assert listed[NAME] == {
        "name": NAME,
        "title": "Counted",
        "queue": "events",
        "description": "Counts its runs.",
        "schedule": "on demand",
        "is_enabled": False,
        "last_run": None,
    }
    assert listed["sweep"]["schedule"] == "every minute"
    assert "hourly at :05" in jobs("list")


def test_run_prints_what_was_done(counted: Counted) -> None:
    assert jobs("run", NAME) == "counted: Counted 1.\n"
    answer = json.loads(jobs("run", NAME, "--json"))
    assert (answer["job"], answer["status"], answer["dry_run"]) == (NAME, "succeeded", False)
    assert (answer["summary"], answer["counts"], answer["error"]) == ("Counted 2.", {"runs": 2}, "")
    assert answer["duration_seconds"] >= 0
    (listed,) = [job for job in json.loads(jobs("list", "--json"))["jobs"] if job["name"] == NAME]
    assert listed["last_run"]["summary"] == "Counted 2."


def test_a_dry_run_says_so(counted: Counted) -> None:
    assert jobs("run", NAME, "--dry-run") == "counted (dry run): Counted 1.\n"
    assert JobRun.objects.get(job=NAME).is_dry_run


def test_a_failed_run_exits_1(counted: Counted, capsys: pytest.CaptureFixture[str]) -> None:
    counted.error = ValueError("no bids today")
    with pytest.raises(CommandError, match="counted failed: ValueError: no bids today") as raised:
        jobs("run", NAME)
    assert raised.value.returncode == 1
    assert capsys.readouterr().err == ""  # one line on stderr, which Django prints


def test_a_skipped_run_exits_1(counted: Counted) -> None:
    with job_lock(NAME), pytest.raises(CommandError, match="counted skipped") as raised:
        jobs("run", NAME, "--json")
    assert raised.value.returncode == 1


def test_an_unknown_name_exits_2() -> None:
    with pytest.raises(CommandError, match="no job called 'nonsense'") as raised:
        jobs("run", "nonsense")
    assert raised.value.returncode == 2


def test_seed_says_what_it_did() -> None:
    assert jobs("seed") == "0 schedules created; what was there stays as it is.\n"
