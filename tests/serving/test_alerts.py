"""The alert rules that come with the platform speak of figures that a serving process shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.serving import market as m

RULES = Path(__file__).resolve().parents[2] / "deploy" / "alerts" / "adplatform.rules.yml"
FIGURE = re.compile(r"adplatform_\w+")


def rules() -> list[dict]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.django_db
def test_every_alert_watches_a_figure_that_exists(serve, ask) -> None:
    m.ad()
    serve()
    m.slot()
    ask("POST", "/v1/decisions", {"placements": [{"id": "a", "slot": "none"}]})
    shown = set(FIGURE.findall(ask("GET", "/metrics").body.decode()))
    watched = {name for rule in rules() for name in FIGURE.findall(rule["expr"])}
    assert {"adplatform_counters_age_seconds", "adplatform_snapshot_age_seconds"} <= watched
    assert watched <= shown


def test_every_alert_says_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "action"}


@pytest.mark.django_db
def test_the_age_of_the_counters_is_that_of_what_is_not_counted_yet(serve, ask) -> None:
    m.ad()
    market = serve()

    def age() -> float:
        (line,) = re.findall(
            r"^adplatform_counters_age_seconds (.*)$", ask("GET", "/metrics").body.decode(), re.M
        )
        return float(line)

    assert age() > 1e9  # nobody ever counted
    market.hot.set("counts:until", repr(market.server.snapshot.built_at.timestamp()))
    market.server.refresh()
    assert 0 <= age() < 30
