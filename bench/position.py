"""Does the blender take an ad for what it is, or for where it stood? `python -m bench.position [--seeds N]`

A market with a known truth: four places whose clicks differ sixfold, and good ads shown mostly in bad places (a buyer
of cheap inventory). What is asked: put in one and the same place, are two ads ranked as their qualities are? Beside the
blender: raw click rates, and a head that learns place and ad apart and is asked without the place (PAL, Guo et al. 2019).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml import logistic
from ml.ctr import features
from ml.ctr.blender import Blender, train_blender
from ml.ctr.counters import Keys, Statistics
from ml.ctr.replay import replay
from ml.ctr.train import train_click_model
from ml.schema import Floats, ImpressionLog

DAY = 86_400.0
START = 1_700_006_400.0
PLACES = np.array([0.0, -0.6, -1.2, -1.8])  # what a place adds to the log odds
ADS = 40
OF_PLACES = ("position", "slot_lift", "site_lift", "slot_log_impressions")

Rank = Callable[[Mapping[str, Any]], Floats]


@dataclass(frozen=True)
class Market:
    """`quality`: what each ad adds to the log odds. `known`: the live statistics after the log."""

    log: ImpressionLog
    quality: Floats
    raw: Mapping[str, Floats]
    known: Statistics


def market(*, rows: int = 40_000, seed: int = 0, against: float = 1.5) -> Market:
    """`against`: how strongly good ads are drawn into bad places; 0 is by chance."""
    rng = np.random.default_rng(seed)
    quality, ad = rng.normal(0, 0.5, ADS), rng.integers(0, ADS, rows)
    drawn = against * quality[ad][:, None] * np.arange(len(PLACES)) + rng.gumbel(size=(rows, len(PLACES)))
    place = drawn.argmax(axis=1)
    time = START + np.sort(rng.random(rows)) * 8 * DAY
    clicked = rng.random(rows) < 1 / (1 + np.exp(-(-2.4 + quality[ad] + PLACES[place])))
    log = ImpressionLog(
        time=time,
        click_time=np.where(clicked, time + 30, np.nan),
        creative=ad,
        line_item=ad // 2,
        campaign=ad // 4,
        advertiser=ad // 8,
        slot=place,
        site=place // 2,
        visitor=np.full(rows, None, dtype=object),
        context={"position": place + 1.0, "hour": np.floor(time / 3_600) % 24},
    )
    known = Statistics()
    return Market(log, quality, replay(log, statistics=known), known)


def right_pairs(seen: Market, rank: Rank) -> float:
    """Share of pairs of ads that are ranked as their qualities are, in each of the places, ties half."""
    shares = []
    for place in range(len(PLACES)):
        rows = [
            seen.known.raw(Keys(ad, ad // 2, ad // 4, ad // 8, place, place // 2), START + 8 * DAY)
            for ad in range(ADS)
        ]
        raw = {name: np.array([getattr(row, name) for row in rows]) for name in rows[0]._fields}
        score = rank(raw | {"position": place + 1.0, "hour": 12.0})
        gap = np.sign(np.subtract.outer(seen.quality, seen.quality)) * np.sign(
            np.subtract.outer(score, score)
        )
        shares.append(((gap > 0) + 0.5 * (gap == 0))[np.triu_indices(ADS, 1)].mean())
    return float(np.mean(shares))


def raw_rates(_seen: Market) -> Rank:
    """Clicks over impressions."""
    return lambda raw: raw["creative_clicks"] / np.maximum(raw["creative_impressions"], 1)


def corrected_rates(_seen: Market) -> Rank:
    """The counters' own rate in an average place."""
    return lambda raw: features.build(raw)[:, features.NAMES.index("creative_ctr")].astype(np.float64)


def blender(seen: Market) -> Rank:
    """What serves: trees on corrected rates, the place among their features."""
    trained = train_click_model(seen.log)
    return lambda raw: trained.blender.log_odds(features.build(raw))


def without_place(seen: Market) -> Rank:
    """The same trees without any feature of the place."""
    trees = _trees(features.build(seen.raw), seen)
    return lambda raw: trees.log_odds(_blind(features.build(raw)))


def separate_head(seen: Market) -> Rank:
    """A head for the place, trees for the rest on top of it; asked without the head."""
    import lightgbm

    y, place = seen.log.clicked, seen.log.slot
    onehot = (place[:, None] == np.arange(len(PLACES))).astype(np.float64)
    base = np.full(len(y), np.log(y.mean() / (1 - y.mean())))
    X, offset = _blind(features.build(seen.raw)), base
    for _ in range(3):  # the two are fitted in turns, each on top of the other
        grown = lightgbm.Dataset(X, y, init_score=offset)
        booster = lightgbm.train(PARAMETERS, grown, num_boost_round=60)
        rest = booster.predict(X, raw_score=True, num_threads=1)
        offset = base + onehot @ logistic.moved(base + rest, onehot, y, 1.0)
    return lambda raw: np.asarray(booster.predict(_blind(features.build(raw)), raw_score=True), np.float64)


PARAMETERS = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "min_data_in_leaf": 100,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "verbosity": -1,
    "seed": 0,
}
WAYS: dict[str, Callable[[Market], Rank]] = {
    "raw click rates": raw_rates,
    "rates in an average place": corrected_rates,
    "blender (serves)": blender,
    "trees without the place": without_place,
    "a head of its own, removed": separate_head,
}


def _blind(X: Any) -> Any:
    seen = X.copy()
    seen[:, [features.NAMES.index(name) for name in OF_PLACES]] = np.nan
    return seen


def _trees(X: Any, seen: Market) -> Blender:
    return train_blender(_blind(X), seen.log.clicked, time_order=seen.log.time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=40_000)
    options = parser.parse_args()
    for against in (0.0, 1.5):
        found: dict[str, list[float]] = {name: [] for name in WAYS}
        for seed in range(options.seeds):
            seen = market(rows=options.rows, seed=seed, against=against)
            for name, way in WAYS.items():
                found[name].append(right_pairs(seen, way(seen)))
        print("good ads in bad places" if against else "ads placed by chance")
        for name, shares in found.items():
            print(f"  {name:28}{np.mean(shares):.3f}  (sd {np.std(shares):.3f})")


if __name__ == "__main__":
    main()
