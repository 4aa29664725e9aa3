"""The conversion rate is the smoothed one until a model of text, device and site beats it on the newest clicks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml import artifacts
from ml.value.conversion import Clicks, ConversionModel, everybodys, fit, known_rates, learn, smoothed

DAY = 86_400.0
NEVER = float("nan")


def market(
    clicks: int = 8_000, *, text: float = 0.0, mobile: float = 0.0, days: float = 0.01, seed: int = 0
) -> Clicks:
    """Thirty days of clicks on twelve line items whose rates differ; `text` and `mobile` move the log odds, conversions
    come `days` after the click in the mean."""
    rng = np.random.default_rng(seed)
    line_item = rng.integers(0, 12, clicks)
    score, device = rng.normal(-3, 1, clicks), rng.integers(0, 2, clicks).astype(np.float64)
    log_odds = rng.normal(-2.2, 0.7, 12)[line_item] + text * (score + 3) + mobile * device
    time = np.sort(rng.random(clicks)) * 30 * DAY
    converts = rng.random(clicks) < 1 / (1 + np.exp(-log_odds))
    at = time + rng.exponential(days * DAY, clicks)
    score[rng.random(clicks) < 0.1] = np.nan
    return Clicks(
        time=time,
        converted_at=np.where(converts & (at < 30 * DAY), at, np.nan),
        advertiser=line_item // 6,
        campaign=line_item // 3,
        line_item=line_item,
        site=rng.integers(0, 3, clicks),
        device=device,
        text=score,
        cluster=np.arange(clicks),
        until=30 * DAY,
    )


def few(times: list[float], converted_at: list[float], line_items: list[int]) -> Clicks:
    """Clicks of one campaign."""
    same = np.ones(len(times), np.int64)
    return Clicks(
        time=np.array(times),
        converted_at=np.array(converted_at),
        advertiser=same,
        campaign=same,
        line_item=np.array(line_items),
        site=same,
        device=same.astype(np.float64),
        text=np.full(len(times), NEVER),
        cluster=np.arange(len(times)),
        until=1_000.0,
    )


def test_a_click_sees_what_was_known_before_it_and_leans_on_the_levels_above() -> None:
    clicks = few([1, 2, 3, 4], [2.5, NEVER, NEVER, NEVER], [7, 7, 7, 8])
    rates = known_rates(clicks, NEVER)
    assert rates[0] == rates[0] == everybodys(0, 0) == 0.01
    # Two clicks before the third, of which one had converted; so on every level.
    above = smoothed(2, 1, smoothed(2, 1, everybodys(2, 1)))
    assert rates[2] == pytest.approx(smoothed(2, 1, above))
    # Line item 8 is new: it has the rate of its campaign, with three clicks by now.
    assert rates[3] == pytest.approx(smoothed(0, 0, smoothed(3, 1, smoothed(3, 1, everybodys(3, 1)))))


def test_a_young_click_counts_by_the_share_of_conversions_that_come_so_early() -> None:
    rates = known_rates(few([0.0, 50.0, 100.0], [NEVER] * 3, [7, 7, 7]), 200.0)
    come = -np.expm1(-100 / 200) - np.expm1(-50 / 200)
    rate = everybodys(come, 0)
    for _ in range(3):
        rate = smoothed(come, 0, rate)
    assert rates[2] == pytest.approx(rate)


def test_what_comes_later_changes_nothing_earlier() -> None:
    clicks = market(2_000)
    cut = 15 * DAY
    altered = replace(clicks, converted_at=np.where(clicks.converted_at > cut, np.nan, clicks.converted_at))
    before = clicks.time < cut
    assert (known_rates(clicks, DAY)[before] == known_rates(altered, DAY)[before]).all()
    assert clicks.known_at(cut).converted.sum() == (clicks.converted_at < cut).sum()


def test_where_text_and_device_matter_the_model_wins_and_finds_them() -> None:
    clicks = market(text=0.8, mobile=-1.0)
    learned = learn(clicks)
    assert learned.model is not None
    assert learned.model.text_weight == pytest.approx(0.8, abs=0.12)
    assert learned.model.devices[1] - learned.model.devices[0] == pytest.approx(-1.0, abs=0.25)
    figures = learned.figures
    assert figures["chosen"] == "model"
    assert figures["model"]["ne"] < figures["rate"]["ne"] - 0.03
    assert figures["model"]["calibration"] == pytest.approx(1.0, abs=0.1)
    assert figures["why"].startswith("The model serves: on the newest clicks it saves +0.0")


def test_where_nothing_but_the_line_item_matters_the_rate_serves() -> None:
    learned = learn(market())
    assert learned.model is None
    assert learned.figures["chosen"] == "rate"
    assert learned.figures["rate"]["calibration"] == pytest.approx(1.0, abs=0.1)
    assert "which is not beyond noise" in learned.figures["why"]


def test_with_few_conversions_nothing_is_tried() -> None:
    learned = learn(market(200))
    assert (learned.model, learned.figures["chosen"]) == (None, "rate")
    assert learned.figures["why"].startswith("Too few")


def test_late_conversions_are_expected_and_not_taken_for_refusals() -> None:
    prompt, late = market(days=0.01), market(days=4.0)
    assert late.converted.sum() < 0.92 * prompt.converted.sum()
    rates = known_rates(late, late.delay_seconds())
    found = fit(late, rates, late.delay_seconds())
    naive = fit(late, rates, NEVER)
    newest = late.time > 25 * DAY
    truth = prompt.converted[newest].mean()  # the same clicks, once all have come
    assert found.of(late, rates)[newest].mean() == pytest.approx(truth, rel=0.1)
    assert naive.of(late, rates)[newest].mean() < 0.93 * found.of(late, rates)[newest].mean()


def test_unknown_text_device_and_site_add_nothing() -> None:
    model = ConversionModel(1.0, 0.0, text_weight=2.0, text_mean=-3.0, devices={1: 0.5}, sites={4: 0.25})
    base = model.base(np.array([0.1, 0.1]))
    assert model.probabilities(base, np.array([NEVER, -3.0]), model.shift(NEVER, 9)) == pytest.approx(
        [0.1, 0.1]
    )
    assert model.shift(1.0, 4) == 0.75
    odds = model.probabilities(base, np.array([-2.0, -2.0]), 0.0) / (
        1 - model.probabilities(base, np.array([-2.0, -2.0]), 0.0)
    )
    assert odds == pytest.approx(np.exp(2.0) / 9)


def test_it_is_what_it_was_after_saving(tmp_path: Path) -> None:
    model = ConversionModel(
        1.1, -0.2, text_weight=0.4, text_mean=-3.1, devices={0: 0.1, 1: -0.2}, sites={7: 0.3}
    )
    given = {"kind": "blender", "metrics": {}, "schema": "s", "seed": 0, "data_range": ("a", "b")}
    artifacts.write(tmp_path, files=[model.save(tmp_path)], **given)
    assert ConversionModel.load(tmp_path) == model
    (tmp_path / "conversion.json").write_text("{}")
    with pytest.raises(artifacts.ArtifactError):
        ConversionModel.load(tmp_path)
