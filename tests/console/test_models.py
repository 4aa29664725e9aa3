"""The models' page shows figures beside their baselines, and the way back."""

from __future__ import annotations

import pytest
from django.test import Client

from adplatform.console.learning import numbers, tables
from tests import factories

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
