"""Conversions that are late, amounts with heavy tails, sampled negatives, posteriors and reliability: on planted data."""

import numpy as np
import pytest

from ml.ctr.calibrate import reliability
from ml.ctr.calibration import Calibration
from ml.ctr.sampling import sampled_rows
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
    model = fit_amounts(amounts, [(1, 2, 3)] * 4_000)
    assert model.expected((1,)) == pytest.approx(truth, rel=0.1)
    assert np.exp(np.log(amounts).mean()) < 0.6 * truth


def test_one_giant_order_does_not_make_a_line_item_rich() -> None:
    rng = np.random.default_rng(2)
    amounts = np.append(np.exp(rng.normal(3, 0.5, 500)), [10_000.0])
    model = fit_amounts(amounts, [(1, 1, 1)] * 500 + [(1, 1, 2)])
    assert 22 < model.expected((1, 1, 2)) < 80


def test_worth_leans_on_the_level_above_and_no_value_is_one_too() -> None:
    # Line item 5 sold for 10 and 30, line item 6 for 20 once, and once something without a value.
    model = fit_amounts(np.array([10.0, 30.0, 20.0, 0.0]), [(1, 2, 5), (1, 2, 5), (1, 2, 6), (1, 2, 6)])
    assert model.expected((1,)) == model.expected((1, 2)) == 15.0
    assert model.expected((1, 2, 5)) == (40 + 3 * 15) / 5
    assert model.expected((1, 2, 6)) == (20 + 3 * 15) / 5
    assert model.expected((1, 2, 9)) == model.expected((1, 8, 9)) == 15.0  # never seen: what is known above
    assert model.expected((7, 8, 9)) is None
    assert fit_amounts(np.zeros(3), [(1, 1, 1)] * 3).expected((1, 1, 1)) == 0.0
    assert fit_amounts(np.empty(0), []).expected((1,)) is None


def test_sampled_negatives_are_put_right() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(200_000) < 0.02).astype(float)
    rows = sampled_rows(y, share=0.1, seed=0)
    assert rows.mean() < 0.13
    q = y[rows].mean()
    served = Calibration(offset=float(np.log(0.1))).probabilities(np.log([q / (1 - q)]))
    assert served[0] == pytest.approx(y.mean(), rel=0.02)


def test_reliability_bins_hold_the_truth_in_their_intervals() -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(0.01, 0.2, 20_000)
    found = reliability(p, (rng.random(20_000) < p).astype(float))
    assert [one["rows"] for one in found["bins"]] == [2_000] * 10
    assert sum(one["low"] <= one["predicted"] <= one["high"] for one in found["bins"]) >= 8
    assert found["ece"] < 0.01
