"""The doctor names each fault with its fix, and an unforeseen one in its own words."""

from __future__ import annotations

import json

import pytest
from django.conf import LazySettings
from django.core.management import call_command

from adplatform.core import roles
from adplatform.core.doctor import checks, machine, running, stores
from adplatform.core.doctor.finding import Check, Finding
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_check_that_raises_has_failed_in_one_line() -> None:
    def broken() -> Finding:
        raise ConnectionError("nobody answers\nTraceback …")

    finding = Check("broken", broken).run()
    assert (finding.status, finding.says) == ("fail", "nobody answers")
    assert finding.fix


def test_every_check_answers_and_every_fault_has_a_fix() -> None:
    findings = {check.name: check.run() for check in checks.CHECKS}
    assert {finding.status for finding in findings.values()} <= {"ok", "warn", "fail"}
    assert [name for name, finding in findings.items() if finding.status != "ok" and not finding.fix] == []
    assert {name for name, finding in findings.items() if finding.status == "fail"} <= {"workers", "beat"}


def test_missing_roles_are_told_until_they_are_there() -> None:
    roles.apply()
    assert stores.database_roles().status == "ok"
    with_one_wrong = f"REVOKE INSERT ON events_click FROM {roles.WORKER}"
    stores.connection.cursor().execute(with_one_wrong)
    finding = stores.database_roles()
    assert (finding.status, finding.fix) == ("warn", "manage.py db_roles")
    assert "events_click" in finding.says


def test_models_without_a_champion_and_with_a_lost_folder(settings: LazySettings, tmp_path) -> None:
    settings.MODELS_DIR, settings.SNAPSHOT_DIR = tmp_path, tmp_path / "snapshots"
    assert running.models().says == "no champion: blender, matcher (ads are chosen by prior)"
    for kind in ("matcher", "blender"):
        factories.model_version(kind=kind, name=kind, folder=kind, stage="champion")
        (tmp_path / kind).mkdir()
    assert running.models() == Finding("ok", "blender: blender, matcher: matcher")
    (tmp_path / "matcher").rmdir()
    assert (running.models().status, running.models().says) == ("fail", "folder is gone: matcher")


def test_an_incomplete_encoder_folder_is_named(settings: LazySettings, tmp_path) -> None:
    settings.ENCODER = str(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert machine.encoder().says == f"{tmp_path} lacks tokenizer.json, model.safetensors"


def test_the_command_exits_1_when_something_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "CHECKS", (Check("one", lambda: Finding("ok", "fine")),))
    call_command("doctor", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "checks": [{"name": "one", "status": "ok", "says": "fine", "fix": ""}],
    }
    monkeypatch.setattr(checks, "CHECKS", (Check("two", lambda: Finding("fail", "down", "start it")),))
    with pytest.raises(SystemExit) as ended:
        call_command("doctor")
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "fail  two              down",
        "                       -> start it",
    ]


@pytest.mark.django_db
def test_the_budget_leases_say_under_which_epoch_they_stand(hot, monkeypatch: pytest.MonkeyPatch) -> None:
    from adplatform.core import clock
    from adplatform.serving import granting
    from adplatform.serving.lease_protocol import Ledger

    assert running.leases().says == "no budget was carried to Valkey yet: no paid ad can be served"
    granting.renew(at=clock.now(), hot=hot)
    assert (running.leases().status, running.leases().says) == (
        "ok",
        "epoch 1, 0.0% of what is left on lease to 0 processes",
    )
    Ledger(hot).beat("a", 0)
    hot.zadd(running.LEASE_PROCESSES, {"a@1": 0})
    assert running.leases().says.endswith("on lease to 1 processes, 1 of them silent")
    hot.hset(running.LEASE_EPOCH, "run", "an older server's")
    assert running.leases().says == "Valkey holds leases of another epoch and gives nothing"
