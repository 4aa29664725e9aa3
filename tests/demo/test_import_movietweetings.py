"""Ratings become what consenting visitors saw and liked; they count nowhere, and a second import adds nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.core.management import CommandError, call_command

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.campaigns.models import Creative, Status
from adplatform.core.pseudonym import pseudonym
from adplatform.demo.datasets import movietweetings
from adplatform.events.models import AdDecision, Click, HourlyStat, Impression
from adplatform.learning import export
from tests.factories import NOON

pytestmark = pytest.mark.django_db
GOOD = {"user_id": 7, "movie_id": 1853728, "rating": 8, "timestamp": 1_366_576_639}
FILMS = [
    {"movie_id": 1853728, "title": "A Western (2012)", "genres": "Drama|Western"},
    {"movie_id": 104257, "title": "A Trial (1992)", "genres": None},
]


def folder(tmp_path: Path, *rows: dict[str, Any], films: list[dict[str, Any]] = FILMS) -> Path:
    pd.DataFrame([GOOD | row for row in rows]).to_parquet(tmp_path / "ratings_100k.parquet")
    pd.DataFrame(films).to_parquet(tmp_path / "movies.parquet")
    return tmp_path


def test_a_rating_is_an_impression_and_from_eight_on_a_click(tmp_path: Path) -> None:
    report = movietweetings.load(folder(tmp_path, {}, {"movie_id": 104257, "rating": 7}))
    assert (report.read, report.loaded) == (2, 2)
    assert report.added == {
        "visitors": 1,
        "behaviours": 2,
        "campaigns": 1,
        "creatives": 2,
        "decisions": 2,
        "impressions": 2,
        "clicks": 1,
    }
    who = pseudonym("movietweet:7")
    assert set(AdDecision.objects.values_list("visitor", "source")) == {(who, "movietweet")}
    liked = Creative.objects.get(pk=Click.objects.get().creative_id)
    assert (liked.headline, liked.body, liked.status) == (
        "A Western (2012)",
        "Drama, Western",
        Status.ARCHIVED,
    )
    seen = Behaviour.objects.get(item="104257")
    assert (seen.kind, seen.text, seen.visitor.pseudonym) == ("read", "A Trial (1992)", who)
    assert set(Consent.objects.values_list("is_granted", "source")) == {(True, "import")}


def test_none_of_it_is_counted_or_learned_from(tmp_path: Path) -> None:
    movietweetings.load(folder(tmp_path, {}))
    assert set(Impression.objects.values_list("reason", "is_billable")) == {("imported", False)}
    assert not HourlyStat.objects.exists()
    assert len(export.training_log(until=NOON)) == 0


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path, {}, {"user_id": 8, "rating": 3})
    movietweetings.load(path)
    models = (Visitor, Consent, Behaviour, Creative, AdDecision, Impression, Click)
    before = [list(model.objects.order_by("pk").values()) for model in models]
    again = movietweetings.load(path)
    assert (again.loaded, set(again.added.values())) == (2, {0})
    assert [list(model.objects.order_by("pk").values()) for model in models] == before


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"user_id": None}, "no user"),
        ({"movie_id": 5}, "the film is not in the list of films"),
        ({"rating": 11}, "the rating is not a whole number from 0 to 10"),
        ({"rating": 7.5}, "the rating is not a whole number from 0 to 10"),
        ({"timestamp": -1}, "the time is not seconds since 1970 in this century"),
        ({"rating": 9}, "the same person rated the film at the same time before"),
    ],
)
def test_an_unusable_rating_is_rejected_with_its_number_and_reason(
    tmp_path: Path, fault: dict[str, Any], reason: str
) -> None:
    path = folder(tmp_path, {})
    rows = pd.DataFrame([GOOD, GOOD | fault, GOOD | {"user_id": 9}]).astype(object)
    rows.to_csv(path / "ratings.csv", index=False)
    report = movietweetings.load(path / "ratings.csv")
    assert {name: one.first_rows for name, one in report.rejected.items()} == {reason: [2]}
    assert AdDecision.objects.count() == 2


def test_a_file_of_nothing_usable_loads_nothing_and_reports_so(tmp_path: Path) -> None:
    assert set(movietweetings.load(folder(tmp_path, {"rating": 99})).added.values()) == {0}
    assert movietweetings.evaluate()[0] == ["Fewer than 200 ratings, or all alike: nothing to compare."]


def test_without_films_it_says_so_in_one_line(tmp_path: Path) -> None:
    (folder(tmp_path, {}) / "movies.parquet").unlink()
    with pytest.raises(CommandError, match="no such file"):
        call_command("import_dataset", "movietweetings", str(tmp_path))


def test_the_report_finds_who_likes_what_beyond_simple_shares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A film's worth and a person's mildness both count; ours uses both, each simple share one of them."""
    rng = np.random.default_rng(5)
    worth, mild = rng.normal(0, 1.5, 25), rng.normal(0, 1.5, 40)
    rows = []
    for number in range(1_500):
        person, film = int(rng.integers(40)), int(rng.integers(25))
        liked = rng.random() < 1 / (1 + np.exp(-worth[film] - mild[person]))
        rows.append(
            {
                "user_id": person,
                "movie_id": film,
                "rating": 9 if liked else 4,
                "timestamp": GOOD["timestamp"] + 60 * number,
            }
        )
    films = [{"movie_id": film, "title": f"Film {film}", "genres": "Drama"} for film in range(25)]
    call_command("import_dataset", "movietweetings", str(folder(tmp_path, *rows, films=films)), "--json")
    found = json.loads(capsys.readouterr().out)["report"]
    assert (found["train_rows"], found["test_rows"]) == (1_200, 300)
    ours = found["models"].pop("ours")
    assert all(ours["ne"] < other["ne"] for other in found["models"].values())
    assert found["saved"][1] > 0
