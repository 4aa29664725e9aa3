"""What to show a customer next, from purchases before a moment: popularity, co-purchase, transformer, blender.

The transformer path is the platform's own: a decayed mean of product vectors is the customer, a bilinear matcher
scores products, LightGBM blends its score with counts. Negatives are drawn by popularity^¾, which the score then
leaves out; ln of it is added back to rank (sampled softmax, Bengio and Senécal 2008).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adplatform.learning import history
from adplatform.learning.history import DAY_SECONDS, Trace
from adplatform.learning.profiles import half_life_seconds
from ml.ctr.blender import Blender, train_blender
from ml.schema import Column, Floats, Ints, Mask, Vectors
from ml.text.matcher import Matcher
from ml.text.train import train_matcher

POPULARITY, AGAIN, CO_PURCHASE, TRANSFORMER, BLENDER = (
    "popularity",
    "again",
    "co-purchase",
    "transformer",
    "blender",
)
RECENT_SECONDS = 28 * DAY_SECONDS  # half-life of "recently popular"
MOST_PAIRS = 30_000
NEGATIVES = 4
SAMPLING_POWER = 0.75
RETRIEVED = 80
FEATURES = (
    "transformer",
    "co_purchase",
    "recent_popularity",
    "popularity",
    "bought",
    "days_since_bought",
    "purchases",
    "days_since_purchase",
    "days_on_sale",
)
RISING = frozenset({"transformer", "co_purchase", "recent_popularity"})


@dataclass(frozen=True)
class Shop:
    """All purchases, sorted by customer and time; `trace.text` is the product, a row of `vectors`."""

    trace: Trace
    vectors: Vectors
    customers: int

    @property
    def products(self) -> int:
        return len(self.vectors)

    def before(self, moment: float) -> Trace:
        """The purchases strictly earlier."""
        rows = self.trace.time < moment
        return Trace(self.trace.visitor[rows], self.trace.time[rows], self.trace.text[rows])

    def bought(self, first: float, end: float) -> Mask:
        """Which customer bought which product in first ≤ time < end."""
        rows = (self.trace.time >= first) & (self.trace.time < end)
        found = np.zeros((self.customers, self.products), np.bool_)
        found[self.trace.visitor[rows], self.trace.text[rows]] = True
        return found


@dataclass(frozen=True)
class Known:
    """What is known at a moment, as customers × products (or one column per product, or per customer)."""

    scores: Mapping[str, Column]
    counts: Column
    last: Column
    popularity: Floats
    first_sale: Floats
    moment: float


def known_at(shop: Shop, moment: float, *, seed: int) -> Known:
    """Count, train and score from what was bought before the moment."""
    trace = shop.before(moment)
    counts = np.zeros((shop.customers, shop.products), np.float32)
    np.add.at(counts, (trace.visitor, trace.text), 1)
    last = np.full((shop.customers, shop.products), np.nan, np.float32)
    order = np.argsort(trace.time, kind="stable")
    last[trace.visitor[order], trace.text[order]] = (moment - trace.time[order]) / DAY_SECONDS
    first_sale = np.full(shop.products, np.nan)
    first_sale[trace.text[order][::-1]] = (moment - trace.time[order][::-1]) / DAY_SECONDS
    weight = np.exp2(-(moment - trace.time) / RECENT_SECONDS)
    recent = np.bincount(trace.text, weights=weight, minlength=shop.products)
    matcher = _matcher(shop, trace, seed=seed)
    drawn = _drawn(trace, shop.products)
    scores: dict[str, Column] = {
        POPULARITY: np.broadcast_to(recent, counts.shape),
        CO_PURCHASE: co_purchase(counts > 0),
        TRANSFORMER: matcher.score_all(_customers(shop, trace), shop.vectors)
        + np.log(drawn).astype(np.float32),
    }
    popularity = np.bincount(trace.text, minlength=shop.products).astype(np.float64)
    return Known(scores, counts, last, popularity, first_sale, moment)


def co_purchase(bought: Mask) -> Vectors:
    """Sum over what a customer bought of the cosine between the products' sets of customers (item to item)."""
    table = bought.astype(np.float32)
    norm = np.sqrt(np.maximum(table.sum(axis=0), 1))
    similarity = (table.T @ table) / np.outer(norm, norm)
    scores: Vectors = table @ similarity.astype(np.float32)
    return scores


def retrieved(known: Known) -> Mask:
    """Candidates: the best of each simple score."""
    chosen = np.zeros(known.counts.shape, np.bool_)
    for scores in known.scores.values():
        best = np.argpartition(-scores, RETRIEVED, axis=1)[:, :RETRIEVED]
        np.put_along_axis(chosen, best, True, axis=1)
    return chosen


def features(known: Known, customer: Ints, product: Ints) -> Vectors:
    """Columns of FEATURES for these pairs."""
    bought = known.counts.sum(axis=1)
    newest = np.where(np.isnan(known.last), np.inf, known.last).min(axis=1)
    since = np.where(np.isinf(newest), np.nan, newest)
    columns = (
        known.scores[TRANSFORMER][customer, product],
        known.scores[CO_PURCHASE][customer, product],
        np.log1p(known.scores[POPULARITY][customer, product]),
        np.log1p(known.popularity[product]),
        np.log1p(known.counts[customer, product]),
        known.last[customer, product],
        np.log1p(bought[customer]),
        since[customer],
        known.first_sale[product],
    )
    return np.stack(columns, axis=1).astype(np.float32)


def train(known: Known, label: Mask, customers: Ints, *, seed: int) -> Blender:
    """Trees that say which candidate is bought in the period after `known`."""
    chosen = retrieved(known)
    chosen[np.setdiff1d(np.arange(len(chosen)), customers)] = False
    customer, product = np.nonzero(chosen)
    y = label[customer, product].astype(np.float64)
    mixed = np.random.default_rng(seed).permutation(len(chosen))[
        customer
    ]  # customers, not rows, are held out
    return train_blender(
        features(known, customer, product), y, time_order=mixed, names=FEATURES, rising=RISING, seed=seed
    )


def blended(known: Known, blender: Blender, customers: Ints) -> Floats:
    """Probability of each candidate, −∞ for what was not retrieved."""
    chosen = retrieved(known)
    chosen[np.setdiff1d(np.arange(len(chosen)), customers)] = False
    customer, product = np.nonzero(chosen)
    out = np.full(chosen.shape, -np.inf)
    out[customer, product] = blender.predict(features(known, customer, product))
    return out


def _customers(shop: Shop, trace: Trace) -> Vectors:
    """Everybody's profile after his last purchase, zeros for who has none."""
    states = history.last_states(trace)
    U = np.zeros((shop.customers, shop.vectors.shape[1]), np.float32)
    U[trace.visitor[states]] = history.profiles(
        trace, shop.vectors, states, half_life_seconds=half_life_seconds()
    )
    return U


def _drawn(trace: Trace, products: int) -> Floats:
    """How often each product is drawn as a negative."""
    mass = (np.bincount(trace.text, minlength=products) + 1.0) ** SAMPLING_POWER
    share: Floats = mass / mass.sum()
    return share


def _matcher(shop: Shop, trace: Trace, *, seed: int) -> Matcher:
    """The newest purchases of customers with a profile, each against products drawn by popularity."""
    states = history.states_before(trace, trace.visitor, trace.time)
    rows = np.flatnonzero(states != history.NONE)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(rows, min(MOST_PAIRS, len(rows)), replace=False))
    met, place = np.unique(states[rows], return_inverse=True)
    U = history.profiles(trace, shop.vectors, met, half_life_seconds=half_life_seconds())
    drawn = rng.choice(shop.products, (len(rows), NEGATIVES), p=_drawn(trace, shop.products))
    product = np.concatenate([trace.text[rows][:, None], drawn], axis=1)
    label = np.zeros(product.shape)
    label[:, 0] = 1.0
    group = np.repeat(np.arange(len(rows)), product.shape[1])
    matcher, _ = train_matcher(
        U,
        shop.vectors,
        label.ravel(),
        u_index=np.repeat(place, product.shape[1]),
        v_index=product.ravel(),
        group=group,
        time=np.repeat(trace.time[rows], product.shape[1]),
        epochs=12,
        patience=2,
        seed=seed,
    )
    return matcher
