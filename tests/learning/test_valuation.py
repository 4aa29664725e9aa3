"""Policies are valued from logged choices as a market with a known truth says they are worth."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
import pytest

from adplatform.decision.exploration import choose
from adplatform.learning import gate, valuation
from ml.ctr.features import NAMES
from ml.evaluation import offpolicy
from tests.learning.test_gate import DAY, FLAT, TRUTH

ADS = 8
EPSILON, BUDGET = 0.05, 0.3


def market(rows: int, *, seed: int) -> tuple[valuation.Choices, Any, Any]:
    """(logged choices, true click probabilities, what serves believes): the platform's own rule chose."""
    rng = np.random.default_rng(seed)
    truth = 1 / (1 + np.exp(-rng.normal(-2.0, 0.8, (rows, ADS))))
    known = 1 / (1 + np.exp(-(np.log(truth / (1 - truth)) * 0.3 - 1.4 + rng.normal(0, 0.5, truth.shape))))
    logs = []
    for row in range(rows):
        one = {
            "creative": list(range(1, ADS + 1)),
            "worth": [1.0] * ADS,
            "by_click": [True] * ADS,
            "pctr": known[row].tolist(),
            "sd": [0.5] * ADS,
            "seed": int(rng.integers(2**62)),
            "epsilon": EPSILON,
            "budget": BUDGET,
            "features": b64encode(np.zeros((ADS, len(NAMES)), "<f4").tobytes()).decode(),
        }
        made = choose(
            ids=np.arange(1, ADS + 1),
            worth=np.ones(ADS),
            pctr=known[row],
            sd=np.full(ADS, 0.5),
            pays_per_click=np.ones(ADS, np.bool_),
            seed=one["seed"],
            epsilon=EPSILON,
            budget=BUDGET,
        )
        one["propensity"] = made.propensity.tolist()
        clicked = bool(rng.random() < truth[row, made.chosen])
        logs.append((one, made.chosen + 1, clicked, f"visitor {row // 2}", float(row)))
    return valuation.of_rows(logs), truth, known


FOUND, PROBABILITY, SERVING = market(6_000, seed=3)


def worth(believed: Any) -> float:
    """The true clicks per ad of the policy that believes this, by its own probabilities."""
    probabilities = [valuation._probabilities(one, believed[row]) for row, one in enumerate(FOUND.sets)]
    return float((np.array(probabilities) * PROBABILITY).sum(axis=1).mean())


@pytest.mark.parametrize(
    "policy", ["what serves", "a challenger that knows the truth", "one that is upside down"]
)
def test_the_value_of_a_policy_is_within_the_interval_of_its_estimate(policy: str) -> None:
    believed = {
        "what serves": SERVING,
        "a challenger that knows the truth": PROBABILITY,
        "one that is upside down": 0.3 - 0.5 * SERVING,
    }[policy]
    true = worth(believed)
    report = valuation.evaluate(FOUND, np.clip(believed, 0.01, 0.9).ravel())
    assert report.refusal == ""
    for name in ("snips", "dr"):
        one = report.estimates[name]
        assert one.low <= true <= one.high, (name, one, true)


def test_uniform_choices_are_valued_too() -> None:
    report = offpolicy.evaluate(valuation.logged_uniform(FOUND))
    assert report.estimates["dr"].low <= float(PROBABILITY.mean()) <= report.estimates["dr"].high


def test_the_better_model_is_told_from_what_serves_and_the_gate_reads_it() -> None:
    better = valuation.compare(FOUND, PROBABILITY.ravel(), SERVING.ravel())
    value, low, high = better["clicks_difference"]["dr"]
    assert 0 < low < value < high
    assert low <= worth(PROBABILITY) - worth(SERVING) <= high
    worse = valuation.compare(FOUND, np.clip(0.3 - 0.5 * SERVING, 0.01, 0.9).ravel(), SERVING.ravel())
    assert worse["clicks_difference"]["dr"][2] < 0

    promoted = gate.judge(TRUTH, FLAT, DAY, champion_name="blender-1", offpolicy=better)
    assert promoted.is_promoted
    assert "its choices would have earned +" in promoted.words
    refused = gate.judge(TRUTH, FLAT, DAY, champion_name="blender-1", offpolicy=worse)
    assert not refused.is_promoted
    assert "fewer clicks per ad" in refused.words


def test_a_handful_of_choices_values_nothing_and_the_verdict_says_so() -> None:
    few, probability, serving = market(20, seed=1)
    found = valuation.compare(few, probability.ravel(), serving.ravel())
    assert found["refusal"].startswith("the effective sample is")
    assert "clicks_difference" not in found
    verdict = gate.judge(TRUTH, FLAT, DAY, champion_name="blender-1", offpolicy=found)
    assert verdict.is_promoted
    assert "its choices cannot be valued: the effective sample is" in verdict.words


def test_no_choice_at_all() -> None:
    nothing = valuation.of_rows([])
    assert valuation.evaluate(nothing, np.empty(0)).refusal == "nothing was logged"
