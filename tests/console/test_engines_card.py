"""The models' page says what the classical engines add, and whether they are used."""

from __future__ import annotations

import pytest
from django.test import Client

from adplatform.learning.models import BeliefFit, EngineFit
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def test_before_the_first_night_the_card_says_what_will_come(client: Client) -> None:
    client.force_login(factories.operator())
    assert "No engines yet" in client.get("/console/models/").content.decode()


def test_each_source_stands_with_its_weight_and_what_it_adds(client: Client) -> None:
    row = {"ndcg": [0.5, 0.4, 0.6], "recall": [0.8, 0.7, 0.9]}
    added = {**row, "adds": [0.0123, -0.001, 0.02]}
    fit = EngineFit.objects.create(
        name="engines-1",
        fitted_at=NOON,
        acts=9_000,
        visitors=270,
        items=121,
        figures={
            "sources": {
                "blend": row,
                "factors": {**added, "weight": 0.5},
                "transformer": {**added, "weight": 1},
            }
        },
        verdict="Not used: the transformer retrieves alone.",
    )
    BeliefFit.objects.create(fitted_at=NOON, rows=1, clicks=300, strength=200, gain=0.1, gain_error=0.01)
    assert [name for name, _ in fit.sources()] == ["transformer", "factors", "blend"]
    client.force_login(factories.operator())
    page = client.get("/console/models/").content.decode()
    for words in ("Not used: the transformer", "9,000", "0.0123", "-0.0010 – 0.0200", "as 200 impressions"):
        assert words in page
