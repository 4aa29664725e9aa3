"""`simulate`: the oracle leads, and the same seed tells the same."""

from __future__ import annotations

import json
from io import StringIO

from django.core.management import call_command


def told() -> dict[str, dict[str, float]]:
    out = StringIO()
    call_command("simulate", "--visitors", "40", "--seed", "5", "--json", stdout=out)
    policies: dict[str, dict[str, float]] = json.loads(out.getvalue())["policies"]
    return policies


def test_the_oracle_leads_and_the_seed_decides() -> None:
    first = told()
    assert first == told()
    assert first["oracle"]["welfare_micros"] > first["prior"]["welfare_micros"]
    assert first["oracle"]["regret_micros"] < first["prior"]["regret_micros"]
