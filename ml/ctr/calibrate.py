"""From the log odds of the trees to probabilities that can be multiplied with money: candidates, and which one serves.

Under drift a map with more parameters, fitted on what is past, often makes calibration worse. So every candidate is
fitted on the older half of the freshest window, which the trees were not fitted on, and judged on its newer half:

    none       as the trees say
    level      one factor on the odds
    platt      slope and level of the log odds
    beta       a·ln p − b·ln(1 − p) + c, slopes of their own for the rare and the frequent (Kull et al. 2017)
    segments   a level for each campaign in each slot, shrunk to the common one
    isotonic   any rising function, from FEWEST_POSITIVES clicks on

A level serves where it lowers the newer half's loss; more parameters have to do so beyond noise. What was chosen is
fitted anew on the whole window. It is evaluated by numpy alone (`ml.ctr.calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml import logistic
from ml.ctr.calibration import IDENTITY, Calibration, segment_of
from ml.evaluation import metrics
from ml.evaluation.metrics import log_loss
from ml.schema import Column, Floats, Ints

PRIOR_CLICKS = 20.0  # as if that many clicks had come exactly as predicted
FRESHEST_SHARE = 0.15
FARTHEST = 5.0  # |ln factor| beyond this is a broken model, not a level
FEWEST_POSITIVES = 20_000  # of the judged fit: with fewer clicks steps follow noise
SEGMENT_CLICKS = 30.0  # expected clicks that the common level weighs as much as
MOST_RATE = 0.99
HALF_LIFE_SECONDS = 1.5 * 86_400.0  # of what a segment's clicks say
PULL = 1.0  # towards the map that changes nothing: as one row that says so
ROUNDS = 500
ENDS = (0.005, 0.995)  # quantiles beyond which a rising function stays what it is there


@dataclass(frozen=True)
class Level:
    """odds × factor; a factor of 1 changes nothing."""

    factor: float = 1.0

    def apply(self, p: Floats) -> Floats:
        """Probabilities moved by the factor."""
        moved: Floats = self.factor * p / (1 - p + self.factor * p)
        return moved


def fit_level(
    p: Floats, y: Floats, weight: Floats | None = None, *, prior_clicks: float = PRIOR_CLICKS
) -> Level:
    """The factor after which predicted and observed clicks agree, shrunk towards 1 by `prior_clicks`."""
    weight = np.ones(len(p)) if weight is None else weight
    if len(p) == 0 or float((weight * p).sum()) <= 0:
        return Level()
    shrink = prior_clicks / (prior_clicks + float((weight * p).sum()))
    target = float((weight * ((1 - shrink) * y + shrink * p)).sum())
    low, high = -FARTHEST, FARTHEST
    for _ in range(60):
        middle = (low + high) / 2
        if float((weight * Level(float(np.exp(middle))).apply(p)).sum()) < target:
            low = middle
        else:
            high = middle
    return Level(float(np.exp((low + high) / 2)))


def freshest_level(
    p: Floats, y: Floats, time_order: Column, *, weight: Floats | None = None, share: float = FRESHEST_SHARE
) -> Level:
    """The level of the freshest share of rows the model was not fitted on, or none.

    Its older half proposes a factor; only if that lowers the log loss of the newer half is the whole window's
    factor used.
    """
    order = np.argsort(time_order, kind="stable")
    window = order[int(len(order) * (1 - share)) :]
    older, newer = window[: len(window) // 2], window[len(window) // 2 :]
    if len(older) == 0:
        return Level()

    def part(rows: Column) -> tuple[Floats, Floats, Floats | None]:
        return p[rows], y[rows], None if weight is None else weight[rows]

    proposed = fit_level(*part(older))
    p_newer, y_newer, w_newer = part(newer)
    wins = log_loss(proposed.apply(p_newer), y_newer, w_newer) < log_loss(p_newer, y_newer, w_newer)
    return fit_level(*part(window)) if wins else Level()


@dataclass(frozen=True)
class Window:
    """Rows that the trees were not fitted on: their log odds, whether they were clicked, when, whose.

    `cluster`: rows that are not independent of each other (a visitor's). `campaign`, `slot`: None where there are none.
    """

    log_odds: Floats
    y: Floats
    time: Floats
    cluster: Column
    campaign: Ints | None = None
    slot: Ints | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Column) -> Window:
        """Only these rows."""
        return Window(
            self.log_odds[rows],
            self.y[rows],
            self.time[rows],
            self.cluster[rows],
            None if self.campaign is None else self.campaign[rows],
            None if self.slot is None else self.slot[rows],
        )

    def calibrated(self, calibration: Calibration) -> Floats:
        """Probabilities of its rows."""
        return calibration.probabilities(self.log_odds, campaign=self.campaign, slot=self.slot)


@dataclass(frozen=True)
class Choice:
    """The calibration that serves, `why` in words, and every candidate's figures on the newer half of the window:
    log_loss, calibration, and `saved` beside what had won until then (mean, low, high; 95 % over clusters)."""

    calibration: Calibration
    candidates: Mapping[str, Mapping[str, Any]]
    why: str


Fit = Callable[[Window], Calibration | None]


def choose(window: Window) -> Choice:
    """Fit every candidate on the older half of the window, keep what wins on the newer half."""
    order = np.argsort(window.time, kind="stable")
    older, newer = window.take(order[: len(order) // 2]), window.take(order[len(order) // 2 :])
    best, figures = "none", {"none": _figures(newer, IDENTITY)}
    if not 0 < older.y.sum() < len(older) or not 0 < newer.y.sum() < len(newer):
        return Choice(IDENTITY, figures, "Nothing is moved: the newest rows were all clicked, or none was.")
    held = IDENTITY
    for name, fit in CANDIDATES.items():
        proposed = fit(older)
        if proposed is None:
            continue
        saved = _saved(newer, held, proposed)
        figures[name] = {**_figures(newer, proposed), "saved": list(saved), "beside": best}
        if saved[0 if name == "level" else 1] > 0:
            best, held = name, proposed
    refitted = IDENTITY if best == "none" else CANDIDATES[best](window) or held
    return Choice(refitted, figures, _why(best, figures))


def _figures(judged: Window, calibration: Calibration) -> dict[str, Any]:
    p = judged.calibrated(calibration)
    return {
        "log_loss": log_loss(p, judged.y) if len(judged) else float("nan"),
        "calibration": metrics.calibration_ratio(p, judged.y) if len(judged) else float("nan"),
        "parameters": calibration.size,
    }


def _saved(judged: Window, held: Calibration, proposed: Calibration) -> tuple[float, float, float]:
    """Log loss per row that the proposed map saves."""
    before = metrics.row_losses(judged.calibrated(held), judged.y)
    return metrics.mean_interval(
        before - metrics.row_losses(judged.calibrated(proposed), judged.y), judged.cluster, rounds=ROUNDS
    )


def _why(best: str, figures: Mapping[str, Mapping[str, Any]]) -> str:
    others = [name for name in figures if name not in ("none", "level", best)]
    if best == "none":
        return "Nothing is moved: no candidate lowered the loss of the newest rows."
    if best == "level":
        beaten = f"; {', '.join(others)} saved nothing beyond noise" if others else ""
        return f"One level lowered the loss of the newest rows{beaten}."
    saved, low, high = figures[best]["saved"]
    return (
        f"{best} lowered the loss of the newest rows beyond noise, by {saved:.5f} ({low:.5f} to {high:.5f})."
    )


def _level(window: Window) -> Calibration:
    p = 1 / (1 + np.exp(-window.log_odds))
    return Calibration("level", (math.log(fit_level(p, window.y).factor),))


def _platt(window: Window) -> Calibration | None:
    x = window.log_odds
    shift, slope = logistic.moved(x, np.column_stack([np.ones(len(x)), x]), window.y, PULL).tolist()
    return Calibration("platt", (1 + slope, shift)) if slope > -1 else None


def _beta(window: Window) -> Calibration | None:
    x = window.log_odds
    rare, frequent = -np.logaddexp(0, -x), np.logaddexp(0, x)  # ln p and −ln(1 − p); they add up to x
    shift, a, b = logistic.moved(
        x, np.column_stack([np.ones(len(x)), rare, frequent]), window.y, PULL
    ).tolist()
    return Calibration("beta", (1 + a, 1 + b, shift)) if min(a, b) > -1 else None


def _segments(window: Window) -> Calibration | None:
    if window.campaign is None or window.slot is None:
        return None
    level = _level(window)
    p = window.calibrated(level)
    fading = 2.0 ** ((window.time - window.time.max()) / HALF_LIFE_SECONDS)
    segment, code = np.unique(segment_of(window.campaign, window.slot), return_inverse=True)
    seen, came, expected = (np.bincount(code, fading * what) for what in (np.ones(len(p)), window.y, p))
    # Beta-Binomial: the rate after its clicks, with a prior of the common level that weighs SEGMENT_CLICKS clicks.
    usual = expected / seen
    rate = np.minimum(usual * (came + SEGMENT_CLICKS) / (expected + SEGMENT_CLICKS), MOST_RATE)
    shift = np.log(rate / (1 - rate)) - np.log(usual / (1 - usual))
    return Calibration("segments", level.parameters, dict(zip(segment.tolist(), shift.tolist(), strict=True)))


def _isotonic(window: Window) -> Calibration | None:
    if window.y.sum() < FEWEST_POSITIVES:
        return None
    from sklearn.isotonic import IsotonicRegression

    floor, ends = 0.5 / len(window), np.quantile(window.log_odds, ENDS)
    # A first or last step of a few rows would promise that nobody, or everybody, clicks.
    kept = np.clip(window.log_odds, *ends)
    fitted = IsotonicRegression(y_min=floor, y_max=1 - floor).fit(kept, window.y)
    x, rate = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
    odds = np.log(rate) - np.log1p(-rate)
    return Calibration("isotonic", (*x.tolist(), *odds.tolist()))


CANDIDATES: dict[str, Fit] = {
    "level": _level,
    "platt": _platt,
    "beta": _beta,
    "segments": _segments,
    "isotonic": _isotonic,
}


def reliability(p: Floats, y: Floats, *, bins: int = 10) -> dict[str, Any]:
    """Bins of equal numbers of rows: {"bins": [{"predicted", "observed", "low", "high", "rows"}], "ece"}.

    `low` and `high` are Wilson's 95 % interval of the observed rate; `ece` the mean |observed − predicted| by rows.
    """
    parts = [part for part in np.array_split(np.argsort(p, kind="stable"), bins) if len(part)]
    found = [_bin(p[part], y[part]) for part in parts]
    gap = sum(abs(one["observed"] - one["predicted"]) * one["rows"] for one in found)
    return {"bins": found, "ece": gap / len(p) if len(p) else float("nan")}


def _bin(p: Floats, y: Floats) -> dict[str, float]:
    n, observed, z = len(p), float(y.mean()), 1.959964
    middle = (observed + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(observed * (1 - observed) / n + z * z / (4 * n * n))
    return {
        "predicted": float(p.mean()),
        "observed": observed,
        "low": max(0.0, middle - half),
        "high": min(1.0, middle + half),
        "rows": n,
    }
