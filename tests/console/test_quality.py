"""The data page: what the newest report found, worst first, and what was refused before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from adplatform.learning.models import DataReport
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _operator(client: Client) -> None:
    client.force_login(factories.operator())


def finding(check: str, severity: str, words: str, **fields: Any) -> dict[str, Any]:
    given = {"subject": "device", "figure": 0.25, "threshold": 0.2, "details": {"psi": 0.25, "judged": 1.0}}
    return {"check": check, "severity": severity, "words": words} | given | fields


def report(
    severity: str, *findings: dict[str, Any], refusals: list[str] | None = None, hours: int = 0
) -> DataReport:
    return DataReport.objects.create(
        examined_at=NOON - timedelta(hours=hours),
        data_until=NOON,
        rows=8_000,
        severity=severity,
        refusals=refusals or [],
        report={"rows": 8_000, "severity": severity, "refusals": refusals or [], "findings": list(findings)},
    )


def test_the_newest_report_with_the_worst_first(client: Client) -> None:
    report("refuse", refusals=["Half of the rows repeat another."], hours=24)
    report(
        "alarm",
        finding("bots", "ok", "Nobody."),
        finding("missing values", "warn", "Some."),
        finding("drift", "alarm", "Its mix changed."),
    )
    answer = client.get("/console/data/")
    assert [row["words"] for row in answer.context["loud"]] == ["Its mix changed.", "Some."]
    assert [row["words"] for row in answer.context["quiet"]] == ["Nobody."]
    page = answer.content.decode()
    assert "Half of the rows repeat another." in page
    assert "1 refusal" in page
    assert "8,000 impressions" in page


def test_drift_is_drawn_for_the_features_that_are_judged(client: Client) -> None:
    report(
        "alarm",
        finding("drift", "alarm", "Moved."),
        finding("drift", "ok", "Weekday.", subject="weekday", details={"psi": 5.0, "judged": 0.0}),
    )
    figure = client.get("/console/data/drift.json").json()
    assert [(trace["meta"], trace["x"], trace["y"]) for trace in figure["data"] if trace["x"]] == [
        ("bad", [0.25], ["device"])
    ]


def test_before_the_first_report(client: Client) -> None:
    assert "No report yet" in client.get("/console/data/").content.decode()
    assert client.get("/console/data/drift.json").status_code == 404


def test_nobody_else_sees_it(client: Client) -> None:
    client.force_login(factories.member().user)
    assert client.get("/console/data/").status_code == 404
