"""Slates of a study become decisions of consenting visitors, their histories what they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.core.management import call_command

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.campaigns.models import Creative
from adplatform.core.pseudonym import pseudonym
from adplatform.demo.datasets import nemig
from adplatform.events.models import AdDecision, Click, HourlyStat, Impression
from adplatform.learning import export
from tests.factories import NOON

pytestmark = pytest.mark.django_db
GOOD = {
    "impression_id": 12,
    "user_id": "U7",
    "history": "news_1",
    "impressions": "news_2-0 news_3-1",
}


def news(count: int = 6) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "news_id": [f"news_{number}" for number in range(count)],
            "title": [
                f"Article about {'garden' if number % 2 else 'border'} {number}" for number in range(count)
            ],
            "abstract": [None] * count,
            "published": ["24.05.2022"] * count,
        }
    )


def folder(tmp_path: Path, *rows: dict[str, Any], articles: int = 6) -> Path:
    pd.DataFrame([GOOD | row for row in rows]).to_parquet(tmp_path / "en_behaviors.parquet")
    news(articles).to_parquet(tmp_path / "en_news.parquet")
    return tmp_path


def test_each_candidate_is_a_decision_at_its_place(tmp_path: Path) -> None:
    report = nemig.load(folder(tmp_path, {}))
    assert report.added == {
        "visitors": 1,
        "behaviours": 1,
        "campaigns": 1,
        "creatives": 2,
        "decisions": 2,
        "impressions": 2,
        "clicks": 1,
    }
    first, second = AdDecision.objects.order_by("position")
    assert (first.position, second.position) == (1, 2)
    assert first.request_id == second.request_id
    assert Click.objects.get().decision_id == second.decision_id
    assert Creative.objects.get(pk=second.creative_id).headline == "Article about garden 3"
    read = Behaviour.objects.get()
    assert (read.item, read.visitor.pseudonym) == ("news_1", pseudonym("nemig:U7"))
    assert f"{read.occurred_at:%Y-%m-%d}" == "2022-05-24"
    assert Consent.objects.get().is_granted
    assert set(Impression.objects.values_list("reason", "is_billable")) == {("imported", False)}
    assert not HourlyStat.objects.exists()
    assert len(export.training_log(until=NOON)) == 0


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path, {}, {"impression_id": 13, "history": ""})
    nemig.load(path)
    models = (Visitor, Consent, Behaviour, Creative, AdDecision, Click)
    before = [list(model.objects.order_by("pk").values()) for model in models]
    assert set(nemig.load(path).added.values()) == {0}
    assert [list(model.objects.order_by("pk").values()) for model in models] == before


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"impression_id": -1}, "the slate has no number"),
        ({"impression_id": 12}, "the slate's number was met before"),
        ({"user_id": " "}, "no user"),
        ({"impressions": "news_2"}, "a candidate is not written as news-0 or news-1"),
        ({"impressions": ""}, "it has no candidate or more than 20"),
        ({"impressions": "news_2-1 news_3-1"}, "more than one candidate was picked"),
        ({"impressions": "news_99-1"}, "a candidate is not in the news"),
        ({"history": "news_1 news_77"}, "an article of the history is not in the news"),
    ],
)
def test_an_unusable_slate_is_rejected_with_its_number_and_reason(
    tmp_path: Path, fault: dict[str, Any], reason: str
) -> None:
    report = nemig.load(folder(tmp_path, {}, {"impression_id": 13} | fault, {"impression_id": 14}))
    assert {name: one.first_rows for name, one in report.rejected.items()} == {reason: [2]}
    assert (report.read, report.loaded) == (3, 2)


def test_nothing_usable_loads_nothing_and_reports_so(tmp_path: Path) -> None:
    assert set(nemig.load(folder(tmp_path, {"user_id": ""})).added.values()) == {0}
    assert nemig.evaluate()[0] == ["Fewer than 200 candidates, or all alike: nothing to compare."]


def test_the_report_judges_participants_that_no_model_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Most picks fall on the first of four places: that much, everybody can learn."""
    rng = np.random.default_rng(6)
    rows = []
    for number in range(120):
        picked = int(rng.choice(4, p=[0.85, 0.05, 0.05, 0.05]))
        slate = rng.choice(12, 4, replace=False)
        text = " ".join(f"news_{key}-{int(place == picked)}" for place, key in enumerate(slate))
        rows.append({"impression_id": number, "user_id": f"U{number // 4}", "impressions": text})
    call_command("import_dataset", "nemig", str(folder(tmp_path, *rows, articles=12)))
    printed = capsys.readouterr().out
    assert "read 120 rows, loaded 120, rejected 0" in printed
    assert "384 rows teach, 96 judge" in printed
    lines, found = nemig.evaluate()
    assert lines[0] in printed
    assert found["models"]["ours"]["ne"] < found["models"]["prior"]["ne"] - 0.05
    assert found["models"]["position"]["ne"] < found["models"]["creative"]["ne"]
