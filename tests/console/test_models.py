"""The models' page shows figures beside their baselines, and the way back."""

from __future__ import annotations

import pytest
from django.test import Client

from adplatform.accounts.models import AuditEntry
from adplatform.console.model_words import (
    calibrations,
    card_facts,
    card_tables,
    conversion_facts,
    conversion_tables,
    facts,
    gate_facts,
    numbers,
    off_policy,
    tables,
)
from adplatform.insights import model_charts
from adplatform.learning import registry
from adplatform.learning.models import SearchRun, SearchTrial
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def test_figures_stand_beside_the_champion_the_prior_and_simpler_models() -> None:
    run = {
        "challenger": {"name": "blender-2", "ne": 0.91, "auc": 0.72, "rows": 10.0},
        "champion": {"name": "blender-1", "ne": 0.93, "auc": None},
        "prior": {"ne": 1.0},
        "compared": {"no_blender": {"auc": 0.6}},
        "gate": {"ne": 0.91},
    }
    newest, simpler = tables(run)
    assert newest.measures == ["Normalised entropy", "AUC"]
    assert newest.rows == [
        ("blender-2", "Challenger", [0.91, 0.72]),
        ("blender-1", "Champion before", [0.93, None]),
        ("", "Prior alone", [1.0, None]),
    ]
    assert (simpler.measures, simpler.rows) == (["AUC"], [("", "Without the blender", [0.6])])


def test_a_run_without_figures_has_no_table() -> None:
    assert tables({}) == []
    assert numbers({"auc": 0.7, "epochs": 3}) == [("AUC", 0.7)]


def test_without_an_earlier_champion_there_is_no_way_back(client: Client) -> None:
    client.force_login(factories.operator())
    factories.model_version(stage="champion")
    assert b'action="/console/models/rollback/"' not in client.get("/console/models/").content
    answer = client.post("/console/models/rollback/", follow=True)
    assert "There is no earlier champion to return to." in answer.content.decode()


METRICS = {
    "challenger": {"name": "blender-2", "ne": 0.91},
    "reliability": {
        "bins": [
            {"predicted": 0.02, "observed": 0.025, "low": 0.02, "high": 0.03, "rows": 4_000},
            {"predicted": 0.2, "observed": 0.18, "low": 0.15, "high": 0.22, "rows": 900},
        ]
    },
    "importance": {"groups": {"text": 0.4, "quality": 0.3}, "features": {"text_score": 0.4}, "rows": 100},
    "gate": {
        "clicks": 320,
        "impressions": 4_900,
        "loss_difference": [-0.00123, -0.002, -0.0004],
        "calibration": [0.981, 0.962, 1.003],
        "harmed": [],
    },
    "offpolicy": {"estimates": {"snips": [0.0123, 0.01, 0.015]}, "refusal": None},
}


def test_the_gates_figures_carry_their_intervals() -> None:
    assert gate_facts(METRICS["gate"]) == [
        ("Judged on", "4,900 impressions"),
        ("Clicks among them", "320"),
        ("Log loss per impression beside the champion", "-0.00123 (-0.00200 to -0.00040)"),
        ("Calibration", "0.981 (0.962 to 1.003)"),
        ("Segments harmed", "none"),
    ]
    assert off_policy(METRICS["offpolicy"]) == ([("Challenger", "snips", "0.01230 (0.01000 to 0.01500)")], "")
    assert off_policy({"refusal": "the effective sample is 40"}) == ([], "the effective sample is 40")
    assert off_policy(None) == ([], "")


def test_a_card_reads_as_pairs_of_words() -> None:
    card = {
        "data_range": {"from": "2026-06-01"},
        "limits": ["English only", "no video"],
        "cpu_seconds": 12.3456,
    }
    assert list(facts(card)) == [
        ("Data range: from", "2026-06-01"),
        ("Limits", "English only; no video"),
        ("Cpu seconds", "12.35"),
    ]


def test_a_reliability_diagram_has_each_bins_interval_and_count() -> None:
    observed, equal = model_charts.reliability_figure(METRICS["reliability"]["bins"])["data"]
    assert list(observed["y"]) == [0.025, 0.18]
    assert [round(one, 4) for one in observed["error_y"]["array"]] == [0.005, 0.04]
    assert [round(one, 4) for one in observed["error_y"]["arrayminus"]] == [0.005, 0.03]
    assert list(observed["customdata"]) == [4_000, 900]
    assert list(equal["x"]) == list(equal["y"])


def test_the_best_so_far_ignores_trials_that_were_stopped() -> None:
    drawn = model_charts.search_figure([0.9, 0.7, 0.8], [True, False, True])["data"]
    best = next(trace for trace in drawn if trace["name"] == "Best so far")
    assert list(best["y"]) == [0.9, 0.9, 0.8]


CALIBRATION = {
    "chosen": "level",
    "why": "One level lowered the loss of the newest rows; platt saved nothing beyond noise.",
    "candidates": {
        "platt": {
            "log_loss": 0.1,
            "calibration": 1.0,
            "parameters": 2,
            "saved": [-0.1, -0.2, 0.1],
            "beside": "level",
        },
        "none": {"log_loss": 0.2, "calibration": 1.2, "parameters": 0},
        "level": {
            "log_loss": 0.1,
            "calibration": 1.0,
            "parameters": 1,
            "saved": [0.1, 0.05, 0.2],
            "beside": "none",
        },
    },
    "before": [{"predicted": 0.04, "observed": 0.025, "low": 0.02, "high": 0.03, "rows": 4_000}],
}
CONVERSION = {
    "chosen": "rate",
    "why": "The smoothed rate serves: on the newest clicks the model saves +0.00263 log loss per click.",
    "clicks": 2_164,
    "conversions": 329,
    "judged": {"clicks": 541, "conversions": 80},
    "delay_seconds": 1_440.0,
    "rate": {"ne": 0.99, "calibration": 1.025},
    "model": {"ne": 0.98, "calibration": 1.156},
}


def test_the_calibration_that_serves_stands_among_its_rivals() -> None:
    lines = calibrations(CALIBRATION)
    assert [(line.words, line.is_chosen, line.saved) for line in lines] == [
        ("As the trees say", False, ""),
        ("One level", True, "0.10000 (0.05000 to 0.20000)"),
        ("Slope and level (Platt)", False, "-0.10000 (-0.20000 to 0.10000)"),
    ]
    assert lines[2].beside == "One level"
    assert calibrations({}) == []


def test_the_conversion_model_stands_beside_the_smoothed_rate() -> None:
    assert conversion_facts(CONVERSION) == [
        ("Clicks", "2,164"),
        ("Conversions", "329"),
        ("Clicks that judged", "541"),
        ("Conversions among them", "80"),
        ("Mean time to a conversion", "0.4 hours"),
    ]
    (table,) = conversion_tables(CONVERSION)
    assert table.rows == [
        ("", "Smoothed rate", [0.99, 1.025]),
        ("", "Model of text, device and site", [0.98, 1.156]),
    ]
    assert conversion_tables({"why": "Too few clicks converted."}) == []


def test_a_page_shows_both_and_the_diagram_before_and_after(client: Client) -> None:
    client.force_login(factories.operator())
    run = factories.training_run(metrics=METRICS | {"calibration": CALIBRATION, "conversion": CONVERSION})
    page = client.get(f"/console/models/trainings/{run.pk}/").content.decode()
    for words in (
        CALIBRATION["why"],
        "Slope and level (Platt)",
        "Smoothed rate serves",
        "Before calibration",
    ):
        assert words in page
    drawn = client.get(f"/console/models/trainings/{run.pk}/reliability.json").json()["data"]
    assert [trace["name"] for trace in drawn] == ["Observed", "Before calibration", "Predicted = observed"]


def test_the_pages_draw_what_a_training_measured(client: Client) -> None:
    client.force_login(factories.operator())
    run = factories.training_run(
        metrics=METRICS, verdict="Promoted: normalised entropy 0.9100.", is_promoted=True
    )
    version = factories.model_version(stage="champion", run=run, card={"limits": ["English only"]})
    search = SearchRun.objects.create(
        started_at=NOON, until=NOON, trials_wanted=4, seconds_allowed=60, rows=10, schema="s"
    )
    SearchTrial.objects.create(search=search, number=0, parameters={}, value=0.9, state="complete", seconds=1)
    page = client.get("/console/models/").content.decode()
    for words in ("Reliability", "0.981 (0.962 to 1.003)", "Promoted: normalised entropy", "1 of 4 trials"):
        assert words in page
    for name in ("reliability", "groups", "features"):
        assert client.get(f"/console/models/trainings/{run.pk}/{name}.json").json()["data"]
    assert client.get(f"/console/models/searches/{search.pk}.json").json()["data"]
    assert "Challenger beside champion" in client.get(f"/console/models/trainings/{run.pk}/").content.decode()
    assert "English only" in client.get(f"/console/models/{version.name}/").content.decode()


def test_what_was_not_measured_is_said_to_be_missing(client: Client) -> None:
    client.force_login(factories.operator())
    assert "No search yet" in client.get("/console/models/").content.decode()
    run = factories.training_run(verdict="Not trained: there are no impressions to learn from.")
    page = client.get("/console/models/").content.decode()
    assert "No reliability diagram" in page
    assert "No importance" in page
    assert client.get(f"/console/models/trainings/{run.pk}/reliability.json").status_code == 404


def test_a_running_training_shows_how_far_it_is(client: Client) -> None:
    client.force_login(factories.operator())
    factories.job_run(
        factories.job("train"), status="running", finished_at=None, progress_done=2, progress_total=5
    )
    page = client.get("/console/models/progress/").content.decode()
    assert "2 of 5" in page
    assert "Train" in page


@pytest.mark.parametrize("action", ["shadow", "canary", "stop", "promote"])
def test_only_operators_change_what_serves(client: Client, action: str) -> None:
    version = factories.model_version()
    url = f"/console/models/{version.name}/{action}/"
    client.force_login(factories.user())
    assert client.post(url, {"percent": 5}).status_code == 404
    assert client.get(f"/console/models/{version.name}/").status_code == 404
    version.refresh_from_db()
    assert version.stage == "challenger"
    client.force_login(factories.operator())
    assert client.get(url).status_code == 405


def test_each_change_is_confirmed_first_and_leaves_a_trace(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.artifacts, "verify", lambda *_, **__: None)  # its folder is not written here
    client.force_login(factories.operator())
    version = factories.model_version()
    page = client.get(f"/console/models/{version.name}/").content.decode()
    assert all(f'<dialog id="{name}"' in page for name in ("shadow", "canary", "promote"))
    answer = client.post(f"/console/models/{version.name}/canary/", {"percent": "7.5"}, follow=True)
    assert "answers 7.5 % of the visitors" in answer.content.decode()
    version.refresh_from_db()
    assert (version.stage, version.share_bp) == ("canary", 750)
    entry = AuditEntry.objects.get(action="model.canary")
    assert entry.target == version.name
    client.post(f"/console/models/{version.name}/stop/")
    version.refresh_from_db()
    assert (version.stage, version.share_bp) == ("challenger", 0)
    client.post(f"/console/models/{version.name}/promote/")
    version.refresh_from_db()
    assert version.stage == "champion"


def test_a_share_that_is_no_share_changes_nothing(client: Client) -> None:
    client.force_login(factories.operator())
    version = factories.model_version()
    for percent, words in (
        ("many", "Give the canary"),
        ("120", "between 0 and 100"),
        ("nan", "between 0 and 100"),
    ):
        answer = client.post(f"/console/models/{version.name}/canary/", {"percent": percent}, follow=True)
        assert words in answer.content.decode()
    version.refresh_from_db()
    assert version.stage == "challenger"
    assert client.post(f"/console/models/{version.name}/sell/").status_code == 404


def test_what_moves_a_prediction_most_stands_first_whatever_order_the_database_kept(client: Client) -> None:
    client.force_login(factories.operator())
    run = factories.training_run(
        metrics={"importance": {"features": {"hour": 0.1, "text_score": 0.4, "slot_lift": 0.2}, "groups": {}}}
    )
    figure = client.get(f"/console/models/trainings/{run.pk}/features.json").json()
    assert figure["data"][0]["y"] == ["hour", "slot lift", "text score"]  # drawn from below


def test_a_card_tells_words_limits_and_figures_apart() -> None:
    card = {
        "name": "matcher-1",
        "data": {"impressions": 44_254},
        "limits": ["It learned from what was shown."],
        "newest_day": {"challenger": {"name": "matcher-1", "ne": 0.95}, "prior": {"ne": 1.0}},
        "own_metrics": {"epochs": 15, "validation": {"ne": 0.92}},
    }
    assert list(card_facts(card)) == [("Data: impressions", "44254")]
    newest, own = card_tables(card)
    assert [row[1:] for row in newest.rows] == [("Challenger", [0.95]), ("Prior alone", [1.0])]
    assert own.rows == [("", "Validation day", [0.92])]
