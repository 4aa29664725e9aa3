"""Ten picks per customer from purchases before the last fifth of time: how many of them does that fifth prove right?

Everything is fitted strictly before: counts and matcher on all purchases until then, the blender's trees on what was
known at 60 % of time and bought in the fifth that followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from adplatform.audience.models import Behaviour
from adplatform.demo.datasets import retail_models as models
from adplatform.demo.datasets.retail_models import (
    AGAIN,
    BLENDER,
    CO_PURCHASE,
    POPULARITY,
    TRANSFORMER,
    Known,
    Shop,
)
from adplatform.learning import embeddings
from adplatform.learning.history import Trace
from ml.evaluation.metrics import mean_interval
from ml.schema import Floats, Ints, Mask

SOURCE = "online_retail"
PICKS = 10
SHARES = (0.6, 0.8)
FEWEST_PURCHASES = 200


def evaluate(*, seed: int = 0) -> tuple[list[str], dict[str, Any]]:
    """Train, pick and compare; returns lines for people and the figures."""
    shop = read()
    if len(shop.trace) < FEWEST_PURCHASES:
        return [f"Fewer than {FEWEST_PURCHASES} purchases: nothing to compare."], {}
    sixty, eighty = np.quantile(shop.trace.time, SHARES)
    end = np.inf
    earlier = models.known_at(shop, sixty, seed=seed)
    next_fifth = shop.bought(sixty, eighty)
    blender = models.train(earlier, next_fifth, _customers(earlier, next_fifth), seed=seed)
    known, truth = models.known_at(shop, eighty, seed=seed), shop.bought(eighty, end)
    customers = _customers(known, truth)
    scores = {**known.scores, BLENDER: models.blended(known, blender, customers)}
    again = known.counts + known.scores[POPULARITY] / known.scores[POPULARITY].max()
    figures = {
        "any product": compare({AGAIN: again, **scores}, truth, customers, None),
        "new products": compare(scores, truth, customers, known.counts > 0),
    }
    return list(_lines(figures, shop, blender.importance())), {
        "customers": shop.customers,
        "products": shop.products,
        "purchases": len(shop.trace),
        "importance": blender.importance(),
        "hit_rate": figures,
    }


def read() -> Shop:
    """The imported purchases of products that the encoder speaks of."""
    rows = Behaviour.objects.filter(visitor__source=SOURCE, kind=Behaviour.Kind.PURCHASE)
    found = list(rows.values_list("visitor_id", "item", "text", "occurred_at").iterator())
    customers, customer = np.unique([row[0] for row in found], return_inverse=True)
    items, item = np.unique([row[1] for row in found], return_inverse=True)
    text = {row[1]: row[2] for row in found}
    vectors = embeddings.vectors([text[name] for name in items.tolist()])
    trace = Trace.of(customer, np.array([row[3].timestamp() for row in found], np.float64), item)
    known = embeddings.has_vector(vectors)
    return Shop(trace.spoken(known), np.where(known[:, None], vectors, np.float32(0)), len(customers))


def compare(
    scores: Mapping[str, Floats], truth: Mask, customers: Ints, excluded: Mask | None
) -> dict[str, dict[str, Any]]:
    """Hit rate, recall and mean reciprocal rank at 10 of each score over customers with something to find.

    `excluded` (customer × product) is neither picked nor looked for. `gain` is the blender's hit rate less the
    other's, customer by customer, with its interval.
    """
    wanted = truth if excluded is None else truth & ~excluded
    customers = customers[wanted[customers].any(axis=1)]
    per_customer = {
        name: _found(
            _top(column[customers], None if excluded is None else excluded[customers]), wanted[customers]
        )
        for name, column in scores.items()
    }
    figures = {}
    for name, found in per_customer.items():
        gain = per_customer[BLENDER]["hit"] - found["hit"]
        figures[name] = {
            "customers": len(customers),
            "hit_rate": mean_interval(found["hit"], np.arange(len(customers))),
            "recall": float(found["recall"].mean()),
            "mrr": float(found["reciprocal"].mean()),
            "blender_gain": mean_interval(gain, np.arange(len(customers))),
        }
    return figures


def _customers(known: Known, truth: Mask) -> Ints:
    """Who bought both before and in the period."""
    return np.flatnonzero(known.counts.any(axis=1) & truth.any(axis=1))


def _top(scores: Floats, excluded: Mask | None) -> Ints:
    """The ten best products of each customer, best first; among equals the lower number."""
    left = scores if excluded is None else np.where(excluded, -np.inf, scores)
    return np.argsort(-left, axis=1, kind="stable")[:, :PICKS]


def _found(top: Ints, wanted: Mask) -> dict[str, Floats]:
    hits = np.take_along_axis(wanted, top, axis=1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf)
    return {
        "hit": hits.any(axis=1).astype(np.float64),
        "recall": hits.sum(axis=1) / wanted.sum(axis=1),
        "reciprocal": 1.0 / first,
    }


NAMES = {
    POPULARITY: "popularity (recent)",
    AGAIN: "what was bought most often",
    CO_PURCHASE: "item-to-item co-purchase",
    TRANSFORMER: "transformer alone",
    BLENDER: "our picks (blender)",
}


def _lines(
    figures: Mapping[str, Mapping[str, Any]], shop: Shop, importance: Mapping[str, float]
) -> Iterator[str]:
    yield (
        f"{shop.customers:,} customers, {shop.products:,} products, {len(shop.trace):,} purchases; ten picks per customer"
        " from the first 80 % of time, judged by the last 20 %"
    )
    for mode, rows in figures.items():
        yield f"{mode} ({rows[BLENDER]['customers']:,} customers)"
        yield f"  {'':28}{'hit rate':>9}{'95 % interval':>17}{'recall':>9}{'MRR':>8}{'ours less it':>14}{'95 % interval':>19}"
        for name, row in rows.items():
            rate, gain = row["hit_rate"], row["blender_gain"]
            less = "" if name == BLENDER else f"{gain[0]:>+14.3f}{f'{gain[1]:+.3f} – {gain[2]:+.3f}':>19}"
            interval = f"{rate[1]:.3f} – {rate[2]:.3f}"
            yield f"  {NAMES[name]:28}{rate[0]:9.3f}{interval:>17}{row['recall']:9.3f}{row['mrr']:8.3f}{less}"
        yield f"  {_verdict(rows)}"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in list(importance.items())[:5])
    yield f"what the blender looks at: {shares}"


def _verdict(rows: Mapping[str, Any]) -> str:
    """Who is ahead, in words."""
    simple = max(
        (name for name in (POPULARITY, AGAIN, CO_PURCHASE) if name in rows),
        key=lambda name: float(rows[name]["hit_rate"][0]),
    )
    _, low, high = rows[simple]["blender_gain"]
    if low > 0:
        return f"Our picks are ahead of {NAMES[simple]}."
    if high < 0:
        return f"{NAMES[simple].capitalize()} is ahead of our picks."
    return f"No difference beyond noise from {NAMES[simple]}."
