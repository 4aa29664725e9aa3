"""The models' page as an operator sees it: drawn in both themes and widths, and a change asks before it happens."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from adplatform.learning import registry
from adplatform.learning.models import ModelVersion, SearchRun, SearchTrial
from tests import factories
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow, wait_for_charts
from tests.console.test_models import CALIBRATION, CONVERSION, METRICS
from tests.factories import NOON

pytestmark = pytest.mark.browser


def learned() -> ModelVersion:
    """A champion, a challenger of a refused training, and a search of which one trial was stopped early."""
    figures = {"ne": 0.9123, "log_loss": 0.2012, "auc": 0.7312, "calibration": 0.981, "ece": 0.0041}
    metrics: dict[str, Any] = METRICS | {
        "challenger": {"name": "blender-2", **figures},
        "champion": {"name": "blender-1", **figures, "ne": 0.9241},
        "prior": figures | {"ne": 1.0},
        "parameters": {"num_leaves": 24, "learning_rate": 0.071},
        "calibration": CALIBRATION,
        "conversion": CONVERSION,
    }
    factories.model_version(stage="champion", name="blender-1", promoted_at=NOON, metrics=figures)
    verdict = (
        "Refused: its log loss is worse beyond noise. It had normalised entropy 0.9123 beside 0.9241 of blender-1"
        " (log loss per impression -0.00123, 95 % interval -0.00200 to -0.00040)."
    )
    run = factories.training_run(
        rows=1_234_567, data_from=NOON, data_until=NOON, metrics=metrics, verdict=verdict
    )
    search = SearchRun.objects.create(
        started_at=NOON,
        finished_at=NOON,
        until=NOON,
        trials_wanted=4,
        seconds_allowed=60,
        rows=10,
        parameters={"num_leaves": 24, "learning_rate": 0.0712345},
        verdict="Kept for the next training: normalised entropy 0.8123 beside 0.8211 of the defaults.",
        is_kept=True,
    )
    for number, (value, state) in enumerate(
        [(0.9, "complete"), (0.88, "complete"), (0.95, "pruned"), (0.86, "complete")]
    ):
        SearchTrial.objects.create(
            search=search, number=number, parameters={}, value=value, state=state, seconds=9
        )
    factories.job_run(
        factories.job("train"), status="running", finished_at=None, progress_done=2, progress_total=5
    )
    card = {
        "data_range": {"from": "2026-06-01", "until": "2026-06-15"},
        "limits": ["English texts only"],
        "cpu_seconds": 41.2,
    }
    return factories.model_version(name="blender-2", run=run, metrics=figures, card=card)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_models(
    page: Page, sign_in: SignIn, shot: Shot, monkeypatch: pytest.MonkeyPatch, theme: str, width: str
) -> None:
    monkeypatch.setattr(registry.artifacts, "verify", lambda *_, **__: None)  # its folder is not written here
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    version = learned()
    sign_in(factories.operator())
    for name, url in (("models", "/console/models/"), ("model", f"/console/models/{version.name}/")):
        page.goto(url)
        wait_for_charts(page)
        shot(f"console-{name}-page-{theme}-{width}")
        assert overflow(page) == 0, name
        assert nameless(page) == []
    page.get_by_role("button", name="Start canary").click()
    expect(page.get_by_role("dialog")).to_contain_text("Let it answer a share of the visitors?")
    version.refresh_from_db()
    assert version.stage == "challenger"
    page.get_by_label("Share of visitors, %").fill("2.5")
    page.get_by_role("button", name="Let it answer").click()
    expect(page.get_by_text("answers 2.5 % of the visitors within seconds")).to_be_visible()
    version.refresh_from_db()
    assert (version.stage, version.share_bp) == ("canary", 250)
