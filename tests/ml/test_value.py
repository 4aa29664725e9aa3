"""Conversions that are late, amounts with heavy tails, sampled negatives, posteriors and reliability: on planted data."""

import numpy as np
import pytest

from ml.ctr.calibrate import reliability
from ml.ctr.sampling import corrected, sampled_rows
from ml.value.amounts import fit_amounts
from ml.value.delay import completed_share, fit_delayed_rate

DAY = 86_400.0


def test_late_conversions_are_expected_and_not_counted_as_none() -> None:
    # 8 % of the clicks of two weeks convert, two days later on average.
    rng = np.random.default_rng(0)
    elapsed = rng.uniform(0, 14 * DAY, 40_000)
    after = np.where(rng.random(40_000) < 0.08, rng.exponential(2 * DAY, 40_000), np.nan)
    seen = np.where(after < elapsed, after, np.nan)
    naive = float((~np.isnan(seen)).mean())
    found = fit_delayed_rate(seen, elapsed)
    assert naive < 0.071
    assert found.rate == pytest.approx(0.08, abs=0.003)
    assert found.delay_seconds == pytest.approx(2 * DAY, rel=0.07)
    # Of clicks as exposure: what came, over what could have come by now.
    exposure = completed_share(elapsed, found.delay_seconds).sum()
    assert (~np.isnan(seen)).sum() / exposure == pytest.approx(0.08, abs=0.003)


def test_three_conversions_say_nothing_of_the_delay() -> None:
    after = np.full(100, np.nan)
    after[:3] = 60.0
    found = fit_delayed_rate(after, np.full(100, DAY))
    assert found.rate == 0.03
    assert np.isnan(found.delay_seconds)


def test_the_mean_of_heavy_tails_is_met_and_not_the_median() -> None:
    rng = np.random.default_rng(1)
    amounts = np.exp(rng.normal(3, 1.2, 4_000))
    truth = float(np.exp(3 + 1.2**2 / 2))
    model = fit_amounts(amounts, ["shop"] * 4_000)
    assert model.expected("shop") == pytest.approx(truth, rel=0.1)
    assert np.exp(np.log(amounts).mean()) < 0.6 * truth


def test_one_giant_order_does_not_make_a_group_rich() -> None:
    rng = np.random.default_rng(2)
    amounts = np.append(np.exp(rng.normal(3, 0.5, 500)), [10_000.0])
    model = fit_amounts(amounts, ["all"] * 500 + ["one"])
    assert 22 < model.expected("one") < 80
    assert model.expected("never seen") == model.overall
    assert fit_amounts(np.zeros(3), ["a"] * 3).expected("a") == 0.0


def test_sampled_negatives_are_put_right() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(200_000) < 0.02).astype(float)
    rows = sampled_rows(y, share=0.1, seed=0)
    assert rows.mean() < 0.13
    assert corrected(y[rows].mean(), share=0.1) == pytest.approx(y.mean(), rel=0.02)


def test_reliability_bins_hold_the_truth_in_their_intervals() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(0.01, 0.2, 20_000)
    found = reliability(p, (rng.random(20_000) < p).astype(float))
    assert [one["rows"] for one in found["bins"]] == [2_000] * 10
    assert sum(one["low"] <= one["predicted"] <= one["high"] for one in found["bins"]) >= 8
    assert found["ece"] < 0.01
