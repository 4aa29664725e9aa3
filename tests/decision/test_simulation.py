"""The market with known truth: its truth has the effects it claims, and better knowledge earns more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adplatform.decision.simulation import Context, Counts, Market, Oracle, Prior, Result, run

MARKET = Market.generate(1, visitors=120, line_items=20, slots=4)
PLAIN = Context(position=2, hour=12.0, device="desktop", seen=0)


def test_the_same_seed_makes_the_same_market() -> None:
    again, other = (Market.generate(seed, visitors=120, line_items=20, slots=4) for seed in (1, 2))
    assert (again.affinity == MARKET.affinity).all()
    assert again.line_items == MARKET.line_items
    assert other.line_items != MARKET.line_items


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (replace(PLAIN, position=1), PLAIN),
        (PLAIN, replace(PLAIN, position=3)),
        (PLAIN, replace(PLAIN, seen=3)),
        (replace(PLAIN, seen=3), replace(PLAIN, seen=8)),
        (replace(PLAIN, hour=20.0), PLAIN),
        (replace(PLAIN, device="mobile"), PLAIN),
    ],
)
def test_the_truth_knows_position_fatigue_hour_and_device(better: Context, worse: Context) -> None:
    for visitor, ad in ((0, 0), (7, 3)):
        assert 0 < MARKET.truth(visitor, ad, worse) < MARKET.truth(visitor, ad, better) < 1


def test_affinity_can_come_from_texts() -> None:
    affinity = np.zeros((2, 3))
    affinity[1, 2] = 4.0
    market = Market.generate(5, visitors=2, line_items=3, slots=1, affinity=affinity)
    odds = [p / (1 - p) for p in (market.truth(0, 2, PLAIN), market.truth(1, 2, PLAIN))]
    assert np.log(odds[1] / odds[0]) == pytest.approx(4.0)


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    policies = {"prior": Prior(), "counts": Counts(20), "oracle": Oracle(MARKET)}
    return {name: run(MARKET, learner, requests=800) for name, learner in policies.items()}


def test_who_knows_more_regrets_less_and_makes_more(results: dict[str, Result]) -> None:
    prior, counts, oracle = (results[name] for name in ("prior", "counts", "oracle"))
    assert oracle.regret_micros < 0.1 * counts.regret_micros
    assert counts.regret_micros < prior.regret_micros
    assert oracle.welfare_micros > 1.2 * prior.welfare_micros
    assert oracle.clicks > prior.clicks


def test_budgets_are_kept_and_spent_over_the_day(results: dict[str, Result]) -> None:
    for result in results.values():
        assert result.requests == 800
        assert 0.2 < result.budget_spent <= 1
        assert result.revenue_micros > 0
    assert results["oracle"].pacing_error < results["prior"].pacing_error


def test_an_oracle_that_never_explores_regrets_nothing_and_runs_repeat() -> None:
    first, second = (run(MARKET, Oracle(MARKET), requests=400, epsilon=0.0) for _ in range(2))
    assert first.regret_micros == pytest.approx(0, abs=1e-6)
    assert first == second
