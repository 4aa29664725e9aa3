"""Headline tests come in row by row: the good ones exactly, the bad ones by number and reason, and twice is once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import Sum

from adplatform.accounts.models import AuditEntry, Organisation
from adplatform.billing.models import Entry
from adplatform.campaigns.models import Campaign, Creative, Status
from adplatform.demo.datasets import upworthy
from adplatform.events.models import HourlyStat

pytestmark = pytest.mark.django_db
GOOD = {
    "clickability_test_id": "t1",
    "headline": "You won't believe this",
    "impressions": 1_000,
    "clicks": 20,
    "test_week": 201446,
    "eyecatcher_id": "e1",
}


def file(tmp_path: Path, *rows: dict[str, Any], name: str = "tests.csv") -> Path:
    path = tmp_path / name
    table = pd.DataFrame([GOOD | row for row in rows])
    table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
    return path


def test_each_row_becomes_a_creative_with_exactly_its_counts(tmp_path: Path) -> None:
    path = file(
        tmp_path, {}, {"headline": "Another one", "clicks": 30}, {"clickability_test_id": "t2", "clicks": 5}
    )
    report = upworthy.load(path)
    assert (report.read, report.loaded, report.refused) == (3, 3, 0)
    assert report.added == {"campaigns": 2, "creatives": 3, "statistics": 3}
    totals = HourlyStat.objects.aggregate(
        i=Sum("impressions"), c=Sum("clicks"), b=Sum("billable_impressions"), m=Sum("spend_micros")
    )
    assert totals == {"i": 3_000, "c": 55, "b": 0, "m": 0}
    stat = HourlyStat.objects.get(clicks=30)
    assert (stat.source, stat.slot_id, stat.hour) == ("upworthy", None, datetime(2014, 11, 17, tzinfo=UTC))
    assert Creative.objects.get(pk=stat.creative_id).headline == "Another one"


def test_nothing_of_it_serves_or_touches_money(tmp_path: Path) -> None:
    upworthy.load(file(tmp_path, {}))
    assert set(Campaign.objects.values_list("status", "source")) == {(Status.ARCHIVED, "upworthy")}
    assert Organisation.objects.get(name="Upworthy archive").is_active is False
    assert Creative.objects.filter(review=Creative.Review.PENDING).count() == 0
    assert Entry.objects.count() == 0


@pytest.mark.parametrize("name", ["tests.csv", "tests.parquet"])
def test_a_second_import_changes_nothing(tmp_path: Path, name: str) -> None:
    path = file(tmp_path, {}, {"headline": "Another one"}, {}, name=name)
    upworthy.load(path)
    before = [
        list(model.objects.order_by("pk").values()) for model in (Campaign, Creative, HourlyStat, AuditEntry)
    ]
    assert upworthy.load(path).added == {"campaigns": 0, "creatives": 0, "statistics": 0}
    assert [
        list(model.objects.order_by("pk").values()) for model in (Campaign, Creative, HourlyStat, AuditEntry)
    ] == before
    assert HourlyStat.objects.count() == 3  # the third row equals the first, and is a package of its own


def test_a_grown_file_adds_what_is_new(tmp_path: Path) -> None:
    upworthy.load(file(tmp_path, {}))
    report = upworthy.load(file(tmp_path, {}, {"headline": "Late arm"}, {"clickability_test_id": "t9"}))
    assert report.added == {"campaigns": 1, "creatives": 2, "statistics": 2}


MALFORMED = [
    ({"clickability_test_id": ""}, "the test has no id"),
    ({"headline": "   "}, "the headline is empty"),
    ({"clicks": "many"}, "impressions or clicks are not whole numbers"),
    ({"impressions": "12.5"}, "impressions or clicks are not whole numbers"),
    ({"impressions": ""}, "impressions or clicks are not whole numbers"),
    ({"clicks": -1}, "a count is negative"),
    ({"clicks": 1_001}, "more clicks than impressions"),
    ({"test_week": 201499}, "the week is not a week (YYYYWW)"),
    ({"test_week": "soon"}, "the week is not a week (YYYYWW)"),
]


@pytest.mark.parametrize(("fault", "reason"), MALFORMED)
def test_a_malformed_row_is_rejected_with_its_number_and_reason(
    tmp_path: Path, fault: dict[str, Any], reason: str
) -> None:
    report = upworthy.load(file(tmp_path, {}, {}, fault, {}))
    assert (report.read, report.loaded) == (4, 3)
    assert {name: one.first_rows for name, one in report.rejected.items()} == {reason: [3]}
    assert HourlyStat.objects.count() == 3


def test_weeks_begin_on_monday_and_week_00_is_the_start_of_the_year() -> None:
    assert upworthy.first_day(201400) == datetime(2014, 1, 1, tzinfo=UTC)
    assert upworthy.first_day(201401) == datetime(2014, 1, 6, tzinfo=UTC)
    assert upworthy.first_day(201352) == datetime(2013, 12, 30, tzinfo=UTC)
    assert upworthy.first_day(float("nan")) is None


def test_the_command_prints_counts_and_the_report_beside_simpler_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(4)
    words = ["garden", "election", "kitten", "budget", "ocean", "bicycle"]
    rows = []
    for test in range(90):
        week = (201410, 201439, 201445)[test % 3]
        for arm in range(3):
            pair = rng.choice(words, 2, replace=False)
            rate = 0.01 + 0.03 * ("kitten" in pair)
            shown = {"impressions": 2_000, "clicks": int(rng.binomial(2_000, rate)), "test_week": week}
            headline = f"What the {pair[0]} has to do with the {pair[1]}, part {arm}"
            rows.append({"clickability_test_id": f"t{test}", "headline": headline} | shown)
    call_command("import_dataset", "upworthy", str(file(tmp_path, *rows, {"clicks": -5})), "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["read"], found["loaded"], found["rejected"]) == (271, 270, 1)
    assert found["reasons"] == {"a count is negative": {"rows": 1, "first": [271]}}
    models = found["report"]["models"]
    assert models["prior"]["pairwise"] == 0.5
    assert models["ours_transformer_alone"]["pairwise"] > 0.7
    assert {"ours", "tfidf_ridge", "embedding_ridge"} < set(models)


def test_what_cannot_be_imported_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as missing:
        call_command("import_dataset", "upworthy", str(tmp_path / "nothing.parquet"))
    assert missing.value.returncode == 2
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CommandError, match="lacks clickability_test_id"):
        call_command("import_dataset", "upworthy", str(path))
    with pytest.raises(CommandError, match="invalid choice: 'criteo'"):
        call_command("import_dataset", "criteo", str(path))
