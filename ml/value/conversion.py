"""How often a click converts: counters smoothed along a hierarchy, and a small model that must beat them to serve.

The rate of a line item leans on its campaign's, that on its advertiser's, that on everybody's. A click counts by the
share of its conversions that have come by now (ml.value.delay). On top of the rate as it stood before each click:

    logit(pCVR) = slope·logit(rate) + intercept + weight·(text score − its mean) + of the device + of the site

Terms are pulled towards 0, so that the model without evidence is the rate. Conversions still to come are expected by
EM. It is fitted on the older clicks, judged on the newest by whether a conversion has come, and serves only if it
beats the rate there beyond noise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml import artifacts, logistic
from ml.evaluation import metrics
from ml.schema import Column, Floats, Ints
from ml.value.delay import completed_share, fit_delayed_rate, to_come

FILE = "conversion.json"
STRENGTH = 50.0  # clicks that the rate above weighs as much as
PRIOR = (1.0, 100.0)  # conversions per clicks before anything is known
NEWEST_SHARE = 0.25  # of the clicks that judge
FEWEST = (50, 20)  # conversions of the older and of the newest clicks: below that the rate serves unasked
ROUNDS = 8  # of EM: labels of clicks that may still convert settle in a few
FREE, TERM, GROUP = 1e-3, 1.0, 5.0  # pulls: of the intercept, of slope and text, of devices and sites


def everybodys(clicks: float, conversions: float) -> float:
    """The rate over all clicks."""
    return (conversions + PRIOR[0]) / (clicks + PRIOR[1])


def smoothed(clicks: float, conversions: float, above: float) -> float:
    """The rate of a level below: clicks as far as their conversions have come, and what is known above."""
    return (conversions + STRENGTH * above) / (clicks + STRENGTH)


@dataclass(frozen=True)
class Clicks:
    """Clicks before `until`, with whose they were, where, and the first conversion of each (NaN: none by `until`).

    `text`: score of the matcher, NaN where there is none; `device`: its code, NaN unknown. `cluster`: rows that are not
    independent of each other.
    """

    time: Floats
    converted_at: Floats
    advertiser: Ints
    campaign: Ints
    line_item: Ints
    site: Ints
    device: Floats
    text: Floats
    cluster: Column
    until: float

    def __len__(self) -> int:
        return len(self.time)

    @property
    def converted(self) -> Floats:
        """1.0 where a conversion has come."""
        return (~np.isnan(self.converted_at)).astype(np.float64)

    @property
    def elapsed(self) -> Floats:
        """Seconds from the click to `until`."""
        waited: Floats = np.maximum(self.until - self.time, 1.0)
        return waited

    def take(self, rows: Column) -> Clicks:
        """Only these rows."""
        columns = {name: column[rows] for name, column in vars(self).items() if name != "until"}
        return Clicks(**columns, until=self.until)

    def known_at(self, moment: float) -> Clicks:
        """The clicks before a moment, knowing nothing of what came from then on."""
        before = self.take(self.time < moment)
        seen = np.where(before.converted_at < moment, before.converted_at, np.nan)
        return replace(before, converted_at=seen, until=moment)

    def delay_seconds(self) -> float:
        """Mean time to a conversion, NaN where too few came to say."""
        return fit_delayed_rate(self.converted_at - self.time, self.elapsed).delay_seconds


@dataclass(frozen=True)
class ConversionModel:
    """The terms on top of the rate; evaluated by numpy alone, in part once per list of ads (`base`)."""

    slope: float
    intercept: float
    text_weight: float = 0.0
    text_mean: float = 0.0
    devices: Mapping[int, float] = field(default_factory=dict)
    sites: Mapping[int, float] = field(default_factory=dict)

    def base(self, rate: Floats) -> Floats:
        """Log odds from the smoothed rates alone."""
        kept = np.clip(rate, 1e-6, 1 - 1e-6)
        odds: Floats = self.slope * np.log(kept / (1 - kept)) + self.intercept
        return odds

    def shift(self, device: float, site: int) -> float:
        """What the place and the device add; nothing where they are not known."""
        of_device = self.devices.get(int(device), 0.0) if device == device else 0.0  # noqa: PLR0124 - NaN
        return of_device + self.sites.get(site, 0.0)

    def probabilities(self, base: Floats, text: Floats, shift: Floats | float) -> Floats:
        """pCVR; an unknown text score adds nothing."""
        x = base + shift
        if self.text_weight:
            x = x + np.where(np.isnan(text), 0.0, self.text_weight * (text - self.text_mean))
        p: Floats = 1 / (1 + np.exp(-x))
        return p

    def of(self, clicks: Clicks, rate: Floats) -> Floats:
        """pCVR of clicks whose line item had this rate."""
        places = zip(clicks.device.tolist(), clicks.site.tolist(), strict=True)
        shift = np.array([self.shift(device, site) for device, site in places], np.float64)
        return self.probabilities(self.base(rate), clicks.text, shift)

    def save(self, folder: Path | str) -> str:
        """Write it into the folder; returns the file's name for its manifest."""
        stored = vars(self) | {"devices": sorted(self.devices.items()), "sites": sorted(self.sites.items())}
        (Path(folder) / FILE).write_text(json.dumps(stored))
        return FILE

    @classmethod
    def load(cls, folder: Path | str) -> ConversionModel | None:
        """That of a verified model folder; None where the smoothed rate serves."""
        manifest = artifacts.verify(folder)
        if FILE not in manifest.files:
            return None
        stored = json.loads(artifacts.read(folder, manifest, FILE))
        return cls(**stored | {name: dict(stored[name]) for name in ("devices", "sites")})


class _Counter:
    """Clicks, how far their conversions have come, and conversions, of one entity as time goes on."""

    __slots__ = ("at", "clicks", "conversions", "waiting")

    def __init__(self) -> None:
        self.clicks = self.conversions = self.waiting = self.at = 0.0

    def come(self, now: float, delay_seconds: float) -> float:
        """Clicks, each by the share of its conversions that have come."""
        return (
            self.clicks - self.waiting * np.exp((self.at - now) / delay_seconds)
            if self.waiting
            else self.clicks
        )

    def click(self, now: float, delay_seconds: float) -> None:
        self.clicks += 1
        if delay_seconds == delay_seconds:  # noqa: PLR0124 - not NaN
            self.waiting = self.waiting * float(np.exp((self.at - now) / delay_seconds)) + 1
            self.at = now


def known_rates(clicks: Clicks, delay_seconds: float) -> Floats:
    """The smoothed rate of each click's line item as it stood before the click."""
    counters: dict[tuple[str, int], _Counter] = {}
    moments = [(at, 0, row) for row, at in enumerate(clicks.time.tolist())]
    moments += [(at, 1, row) for row, at in enumerate(clicks.converted_at.tolist()) if at == at]  # noqa: PLR0124
    levels = [getattr(clicks, name).tolist() for name in ("advertiser", "campaign", "line_item")]
    rates = np.empty(len(clicks))
    for at, is_conversion, row in sorted(moments):
        keys = [("all", 0), *(("acl"[level], ids[row]) for level, ids in enumerate(levels))]
        path = [counters.setdefault(key, _Counter()) for key in keys]
        if is_conversion:
            for one in path:
                one.conversions += 1
            continue
        rate = everybodys(path[0].come(at, delay_seconds), path[0].conversions)
        for one in path[1:]:
            rate = smoothed(one.come(at, delay_seconds), one.conversions, rate)
        rates[row] = min(rate, 1 - 1e-6)
        for one in path:
            one.click(at, delay_seconds)
    return rates


def fit(clicks: Clicks, rate: Floats, delay_seconds: float) -> ConversionModel:
    """The terms, conversions still to come expected."""
    x = np.log(rate / (1 - rate))
    known = ~np.isnan(clicks.text)
    mean = float(clicks.text[known].mean()) if known.any() else 0.0
    spread = float(clicks.text[known].std()) or 1.0 if known.any() else 1.0
    text = np.where(known, (clicks.text - mean) / spread, 0.0)
    devices = np.unique(clicks.device[~np.isnan(clicks.device)]).astype(np.int64)
    sites = np.unique(clicks.site)
    groups = [clicks.device[:, None] == devices, clicks.site[:, None] == sites]
    Z = np.column_stack([np.ones(len(x)), x - x.mean(), text, *groups]).astype(np.float64)
    pull = np.array([FREE, TERM, TERM, *[GROUP] * (len(devices) + len(sites))])
    w = _expected(clicks, x, Z, pull, delay_seconds)
    of_devices, of_sites = w[3 : 3 + len(devices)], w[3 + len(devices) :]
    return ConversionModel(
        slope=float(1 + w[1]),
        intercept=float(w[0] - w[1] * x.mean()),
        text_weight=float(w[2] / spread),
        text_mean=mean,
        devices=dict(zip(devices.tolist(), of_devices.tolist(), strict=True)),
        sites=dict(zip(sites.tolist(), of_sites.tolist(), strict=True)),
    )


def _expected(clicks: Clicks, x: Floats, Z: Floats, pull: Floats, delay_seconds: float) -> Floats:
    """Weights for labels that are 1 where a conversion came, and its probability to come where it may."""
    y = clicks.converted
    w = np.zeros(Z.shape[1])
    if np.isnan(delay_seconds):
        return logistic.moved(x, Z, y, pull)
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-(x + Z @ w)))
        w = logistic.moved(x, Z, np.where(y > 0, 1.0, to_come(p, clicks.elapsed, delay_seconds)), pull)
    return w


@dataclass(frozen=True)
class Learned:
    """`model`: None where the smoothed rate serves. `figures` say why, and what both did on the newest clicks."""

    model: ConversionModel | None
    figures: Mapping[str, Any]


def learn(clicks: Clicks) -> Learned:
    """Fit on the older clicks, judge on the newest, and where the model wins there fit it on all."""
    said: dict[str, Any] = {
        "clicks": len(clicks),
        "conversions": int(clicks.converted.sum()),
        "chosen": "rate",
    }
    if said["conversions"] < sum(FEWEST):
        why = f"Too few clicks converted ({said['conversions']}, at least {sum(FEWEST)}): the smoothed rate serves."
        return Learned(None, said | {"why": why})
    cut = float(np.quantile(clicks.time, 1 - NEWEST_SHARE))
    older, newest = clicks.known_at(cut), clicks.take(clicks.time >= cut)
    if older.converted.sum() < FEWEST[0] or newest.converted.sum() < FEWEST[1]:
        return Learned(
            None, said | {"why": "Too few conversions among the newest clicks: the smoothed rate serves."}
        )
    delay = clicks.delay_seconds()
    rate = known_rates(clicks, delay)
    proposed = fit(older, rate[clicks.time < cut], older.delay_seconds())
    saved, both = _judged(newest, rate[clicks.time >= cut], proposed, delay)
    wins = saved[1] > 0 and proposed.slope > 0
    chosen = fit(clicks, rate, delay) if wins else None
    figures = {
        "chosen": "model" if wins else "rate",
        "judged": {"clicks": len(newest), "conversions": int(newest.converted.sum())},
        "delay_seconds": delay,
        "saved": list(saved),
        **both,
        "terms": _terms(chosen or proposed),
        "why": _why(wins, saved),
    }
    return Learned(chosen, said | figures)


def _judged(
    newest: Clicks, rate: Floats, model: ConversionModel, delay_seconds: float
) -> tuple[tuple[float, float, float], dict[str, dict[str, float]]]:
    """What the model saves per click, and both's figures, on whether a conversion has come by now."""
    come = np.ones(len(newest)) if np.isnan(delay_seconds) else completed_share(newest.elapsed, delay_seconds)
    y = newest.converted
    told = {"rate": rate * come, "model": model.of(newest, rate) * come}
    losses = {name: metrics.row_losses(p, y) for name, p in told.items()}
    figures = {
        name: {
            "ne": metrics.normalised_entropy(p, y),
            "log_loss": float(losses[name].mean()),
            "auc": metrics.auc(p, y),
            "calibration": metrics.calibration_ratio(p, y),
        }
        for name, p in told.items()
    }
    return metrics.mean_interval(losses["rate"] - losses["model"], newest.cluster), figures


def _terms(model: ConversionModel) -> dict[str, float]:
    return {
        "slope": model.slope,
        "text_weight": model.text_weight,
        "largest_device": max((abs(one) for one in model.devices.values()), default=0.0),
        "largest_site": max((abs(one) for one in model.sites.values()), default=0.0),
    }


def _why(wins: bool, saved: tuple[float, float, float]) -> str:
    interval = f"{saved[0]:+.5f} log loss per click ({saved[1]:+.5f} to {saved[2]:+.5f})"
    if wins:
        return f"The model serves: on the newest clicks it saves {interval} beside the smoothed rate."
    return f"The smoothed rate serves: on the newest clicks the model saves {interval}, which is not beyond noise."
