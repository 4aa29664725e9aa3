"""May a challenger serve? Judged on the newest day, which it was not fitted on, beside what serves now.

It passes when its log loss is not worse beyond noise, its calibration lies within bounds, no guarded segment (a slot,
a device) is harmed, and the choices that it would have made are not worth less beyond noise (off-policy, from the
logged choice sets; where those say too little the verdict says so and rests on the rest). Noise: a bootstrap over visitors, whose impressions are not independent. Verdicts are
sentences, since a person has to believe them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.evaluation import metrics
from ml.schema import Column, Floats

FEWEST_CLICKS = 30
CALIBRATION = (0.9, 1.1)
FEWEST_SEGMENT_CLICKS = 50
SEGMENT_LEVEL = 0.99  # many segments are looked at: each must be surely worse
ROUNDS = 400


@dataclass(frozen=True)
class NewestDay:
    """What both are judged on: labels, a cluster per visitor, and the segments that must not be harmed."""

    clicked: Floats
    cluster: Column
    segments: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may serve, why, and the figures behind it."""

    is_promoted: bool
    words: str
    figures: dict[str, Any]


def judge(
    challenger: Floats,
    champion: Floats,
    day: NewestDay,
    *,
    champion_name: str,
    offpolicy: Mapping[str, Any] | None = None,
) -> Verdict:
    """Compare two columns of probabilities for the same impressions. `offpolicy`: figures of `valuation.compare`."""
    clicks = int(day.clicked.sum())
    if clicks < FEWEST_CLICKS:
        words = f"Refused: {clicks} clicks in the newest day say too little ({FEWEST_CLICKS} are needed)."
        return Verdict(False, words, {"clicks": clicks})
    worse = metrics.row_losses(challenger, day.clicked) - metrics.row_losses(champion, day.clicked)
    loss = metrics.mean_interval(worse, day.cluster, rounds=ROUNDS)
    calibration = ratio_interval(challenger, day.clicked, day.cluster)
    harmed = harmed_segments(worse, day)
    figures = {
        "clicks": clicks,
        "impressions": len(day.clicked),
        "ne": metrics.normalised_entropy(challenger, day.clicked),
        "ne_champion": metrics.normalised_entropy(champion, day.clicked),
        "loss_difference": list(loss),
        "calibration": list(calibration),
        "harmed": harmed,
    }
    faults = [*_faults(loss, calibration, harmed), *_worth_less(offpolicy)]
    measured = (
        f"normalised entropy {figures['ne']:.4f} beside {figures['ne_champion']:.4f} of {champion_name}"
        f" (log loss per impression {loss[0]:+.5f}, 95 % interval {loss[1]:+.5f} to {loss[2]:+.5f});"
        f" calibration {calibration[0]:.3f} ({calibration[1]:.3f} to {calibration[2]:.3f}){_worth_words(offpolicy)}"
    )
    if faults:
        return Verdict(False, f"Refused: {'; '.join(faults)}. It had {measured}.", figures)
    return Verdict(True, f"Promoted: {measured}; no slot or device is harmed.", figures)


def _worth_less(offpolicy: Mapping[str, Any] | None) -> list[str]:
    """Whether its choices would surely have earned fewer clicks."""
    if not offpolicy or offpolicy["refusal"]:
        return []
    value, _low, high = offpolicy["clicks_difference"]["dr"]
    return [f"its choices would have earned {-value:.3%} fewer clicks per ad"] if high < 0 else []


def _worth_words(offpolicy: Mapping[str, Any] | None) -> str:
    if not offpolicy:
        return ""
    if offpolicy["refusal"]:
        return f"; its choices cannot be valued: {offpolicy['refusal']}"
    value, low, high = offpolicy["clicks_difference"]["dr"]
    return f"; its choices would have earned {value:+.3%} clicks per ad ({low:+.3%} to {high:+.3%})"


def ratio_interval(p: Floats, y: Floats, cluster: Column, *, seed: int = 0) -> tuple[float, float, float]:
    """(ratio, low, high) of predicted over observed clicks, 95 % over clusters."""
    _, code = np.unique(cluster, return_inverse=True)
    predicted, observed = np.bincount(code, weights=p), np.bincount(code, weights=y)
    rng = np.random.default_rng(seed)
    ratios = np.empty(ROUNDS)
    for draw in range(ROUNDS):
        times = np.bincount(rng.integers(0, len(observed), len(observed)), minlength=len(observed))
        ratios[draw] = (predicted * times).sum() / max((observed * times).sum(), 1e-9)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(predicted.sum() / observed.sum()), float(low), float(high)


def harmed_segments(worse: Floats, day: NewestDay) -> list[str]:
    """Segments in which the challenger's loss is surely higher, as 'device mobile'."""
    harmed = []
    for name, column in day.segments.items():
        for value in np.unique(column).tolist():
            rows = column == value
            if day.clicked[rows].sum() < FEWEST_SEGMENT_CLICKS:
                continue
            _, low, _ = metrics.mean_interval(
                worse[rows], day.cluster[rows], level=SEGMENT_LEVEL, rounds=ROUNDS
            )
            if low > 0:
                harmed.append(f"{name} {value}")
    return harmed


def _faults(
    loss: tuple[float, float, float], calibration: tuple[float, float, float], harmed: list[str]
) -> list[str]:
    faults = []
    if loss[1] > 0:
        faults.append("its log loss is worse beyond noise")
    if calibration[1] > CALIBRATION[1] or calibration[2] < CALIBRATION[0]:
        faults.append(f"its calibration lies outside {CALIBRATION[0]} to {CALIBRATION[1]}")
    if harmed:
        faults.append(f"it harms {', '.join(harmed)}")
    return faults
