"""Logged decisions come in row by row with their propensities, count nowhere, and say what another policy was worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from adplatform.billing.models import Entry
from adplatform.campaigns.models import Creative, Status
from adplatform.demo.datasets import open_bandit, open_bandit_report
from adplatform.events.models import AdDecision, Click, HourlyStat, Impression
from adplatform.learning import export
from tests.factories import NOON

pytestmark = pytest.mark.django_db
GOOD = {
    "timestamp": "2019-11-24 00:00:34.762830+00:00",
    "item_id": 3,
    "position": 2,
    "click": 1,
    "propensity_score": 0.25,
}


def log(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    pd.DataFrame([GOOD | row for row in rows]).to_parquet(folder / f"{name}.parquet")
    return folder


def test_each_row_becomes_a_decision_with_its_propensity_and_events(tmp_path: Path) -> None:
    log(tmp_path, "random_men", {}, {"click": 0, "item_id": 1})
    report = open_bandit.load(log(tmp_path, "bts_men", {"propensity_score": 0.5}))
    assert (report.read, report.loaded, report.refused) == (3, 3, 0)
    assert report.added == {"campaigns": 1, "creatives": 2, "decisions": 3, "impressions": 3, "clicks": 2}
    decision = AdDecision.objects.get(mode="bts")
    assert (decision.propensity, decision.position, decision.source) == (0.5, 2, "openbandit")
    assert decision.served_at.isoformat() == "2019-11-24T00:00:34.762830+00:00"
    creative = Creative.objects.get(pk=decision.creative_id)
    assert (creative.headline, creative.status) == ("Men item 3", Status.ARCHIVED)


def test_none_of_it_is_counted_learned_from_or_billed(tmp_path: Path) -> None:
    open_bandit.load(log(tmp_path, "random_all", {}, {}))
    assert set(Impression.objects.values_list("reason", "is_billable")) == {("imported", False)}
    assert set(Click.objects.values_list("reason", "is_billable")) == {("imported", False)}
    assert not HourlyStat.objects.exists()
    assert not Entry.objects.exists()
    assert len(export.training_log(until=NOON)) == 0


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    log(tmp_path, "random_women", {}, {"click": 0})
    open_bandit.load(tmp_path)
    before = (AdDecision.objects.count(), Click.objects.count(), Creative.objects.count())
    again = open_bandit.load(tmp_path)
    assert (again.read, again.loaded) == (2, 2)
    assert set(again.added.values()) == {0}
    assert (AdDecision.objects.count(), Click.objects.count(), Creative.objects.count()) == before


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"timestamp": "yesterday"}, "the time cannot be read"),
        ({"item_id": 1.5}, "the item is not a whole number from 0"),
        ({"position": 4}, "the position is not 1, 2 or 3"),
        ({"click": 2}, "click is not 0 or 1"),
        ({"propensity_score": 0.0}, "the propensity is not a probability above 0"),
    ],
)
def test_a_bad_row_is_turned_away_with_its_number_and_reason(
    tmp_path: Path, bad: dict[str, Any], reason: str
) -> None:
    report = open_bandit.load(log(tmp_path, "bts_all", {}, bad))
    assert report.as_dict()["reasons"] == {f"bts_all: {reason}": {"rows": 1, "first": [2]}}
    assert (report.loaded, AdDecision.objects.count()) == (1, 1)


def test_a_folder_without_logs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="holds none of random_all"):
        call_command("import_dataset", "openbandit", tmp_path)


def test_the_report_recovers_what_the_other_policy_earned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    rates = np.array([0.02, 0.1, 0.3, 0.6])
    shares = {"random": np.full(4, 0.25), "bts": np.array([0.05, 0.15, 0.3, 0.5])}
    for policy, share in shares.items():
        item = rng.choice(4, 900, p=share)
        click = (rng.random(900) < rates[item]).astype(int)
        rows = [
            {"item_id": int(a), "click": int(c), "propensity_score": share[a], "position": 1 + number % 3}
            for number, (a, c) in enumerate(zip(item, click, strict=True))
        ]
        log(tmp_path, f"{policy}_all", *rows)
    call_command("import_dataset", "openbandit", tmp_path, "--json")
    found = json.loads(capsys.readouterr().out)["report"]["all"]
    truth = float((shares["bts"] * rates).sum())
    for name in open_bandit_report.NAMES:
        value, low, high = found["estimates"][name]
        assert low < truth < high, name
        assert abs(value - truth) < 0.06, name
    assert found["held_by"] == list(open_bandit_report.NAMES)
    assert found["logging_ctr"] == pytest.approx(rates.mean(), abs=0.05)
