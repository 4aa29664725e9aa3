"""Classical engines as sources of candidates: `python -m bench.engines [--visitors N]`, one thread.

Reads ADPLATFORM_DATA (movietweetings, online_retail_ii) and says so where a set is absent. Split by time: engines are
fitted on the first 64 % of the acts and their weights chosen on the next 16 %; then they are fitted again on 80 %, and
the last 20 % judge. Candidates are all items. Films are judged on films not yet rated, products on any product.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from ml.engines import blend, content, covisitation, factors
from ml.engines.engine import Engine
from ml.evaluation import ranking
from ml.evaluation.metrics import mean_interval
from ml.schema import Column, Floats, Ints, Mask, Vectors

K = 20
SPLITS = (0.64, 0.80)
SEED = 5
DAY_SECONDS = 86_400.0
SHRINKAGES = (0.0, 10.0)
FADES_DAYS = (7.0, 28.0, 90.0)  # half-lives that the validation part chooses among
POPULARITY, CO_VISITS, FACTORS, CONTENT = "popularity", "co-visitation", "factors", "content"


@dataclass(frozen=True)
class Acts:
    """Who did what when, by code; `texts` by item. `is_again`: whether the same item may be wanted twice."""

    visitor: Ints
    item: Ints
    time: Floats
    texts: list[str]
    visitors: int
    is_again: bool

    @property
    def items(self) -> int:
        return len(self.texts)

    def before(self, moment: float) -> Acts:
        rows = self.time < moment
        return Acts(
            self.visitor[rows], self.item[rows], self.time[rows], self.texts, self.visitors, self.is_again
        )

    def table(self, first: float, end: float, visitors: Ints) -> Mask:
        """Which of these visitors did which item in first ≤ time < end."""
        rows = (self.time >= first) & (self.time < end)
        place = np.full(self.visitors, -1, np.int64)
        place[visitors] = np.arange(len(visitors))
        who = place[self.visitor[rows]]
        done = np.zeros((len(visitors), self.items), np.bool_)
        done[who[who >= 0], self.item[rows][who >= 0]] = True
        return done


def movietweetings(folder: Path) -> Acts:
    """Films rated 8 or more."""
    import pandas as pd

    rated = pd.read_parquet(folder / "movietweetings" / "ratings_100k.parquet")
    films = pd.read_parquet(folder / "movietweetings" / "movies.parquet")
    text = dict(zip(films["movie_id"], films["title"] + ", " + films["genres"].fillna(""), strict=True))
    return _acts(rated[rated["rating"] >= 8], "user_id", "movie_id", "timestamp", text, is_again=False)


def online_retail_ii(folder: Path) -> Acts:
    """What customers bought, an item once an invoice; cancellations and what is no product left out."""
    import pandas as pd

    lines = pd.read_parquet(folder / "online_retail_ii" / "online_retail_ii_2009_2010.parquet")
    code = lines["StockCode"].astype(str)
    lines = lines[
        lines["Customer ID"].notna() & (lines["Quantity"] > 0) & code.str.fullmatch(r"\d{5}[A-Za-z]{0,2}")
    ]
    lines = lines.assign(
        item=code, at=pd.to_datetime(lines["InvoiceDate"]).astype("datetime64[s]").astype("int64")
    )
    lines = lines.drop_duplicates(["Invoice", "item"])
    text = lines.groupby("item")["Description"].first().fillna("").to_dict()
    return _acts(lines, "Customer ID", "item", "at", text, is_again=True)


def _acts(table: Any, user: str, item: str, at: str, text: Mapping[Any, str], *, is_again: bool) -> Acts:
    users, visitor = np.unique(table[user].to_numpy(), return_inverse=True)
    items, code = np.unique(table[item].to_numpy(), return_inverse=True)
    seconds = table[at].to_numpy(np.float64)
    texts = [str(text.get(name, "")) for name in items.tolist()]
    return Acts(
        visitor.astype(np.int64), code.astype(np.int64), seconds, texts, len(users), is_again=is_again
    )


def vectors_of(name: str, texts: list[str]) -> tuple[Vectors, float]:
    """Text vectors, and the seconds that they took; kept under var/bench, since no engine changes them."""
    from ml.text.encoder import Encoder

    cache = Path(os.environ.get("ADPLATFORM_VAR") or "var") / "bench" / "engines" / f"{name}.npz"
    if cache.exists():
        kept = np.load(cache)
        if len(kept["vectors"]) == len(texts):
            return kept["vectors"], float(kept["seconds"])
    started = time.process_time()
    found: Vectors = Encoder.load(None).encode(texts)
    seconds = time.process_time() - started
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, vectors=found, seconds=seconds)
    return found, seconds


@dataclass(frozen=True)
class Chosen:
    """What the validation part chose: half-lives in days (None: nothing fades)."""

    popular_days: float | None = 28.0
    together_days: float | None = None
    shrinkage: float = 10.0


def popular(known: Acts, days: float | None) -> Floats:
    """Acts per item, faded."""
    age = known.time.max(initial=0.0) - known.time
    weight = np.exp2(-age / (days * DAY_SECONDS)) if days else np.ones(len(age))
    return np.bincount(known.item, weights=weight, minlength=known.items)


@dataclass(frozen=True)
class Histories:
    """What the judged visitors had done: (row of the visitor, item, weight)."""

    who: Ints
    what: Ints
    weight: Floats
    visitors: int


def histories(known: Acts, visitors: Ints, days: float | None) -> Histories:
    """Faded with this half-life."""
    place = np.full(known.visitors, -1, np.int64)
    place[visitors] = np.arange(len(visitors))
    rows = place[known.visitor] >= 0
    age = known.time.max(initial=0.0) - known.time[rows]
    weight = np.exp2(-age / (days * DAY_SECONDS)) if days else np.ones(len(age))
    return Histories(place[known.visitor[rows]], known.item[rows], weight, len(visitors))


def co_visits(known: Acts, chosen: Chosen) -> Engine:
    """Fitted as the validation part chose."""
    days = chosen.together_days
    return covisitation.fit(
        known.visitor,
        known.item,
        known.time,
        items=known.items,
        half_life_seconds=days * DAY_SECONDS if days else None,
        shrinkage=chosen.shrinkage,
    )


def sources(
    known: Acts, visitors: Ints, vectors: Vectors, chosen: Chosen, seconds: dict[str, float]
) -> dict[str, Vectors]:
    """Scores of all items for these visitors, by engine, from what is known; `seconds` are filled in."""
    done = histories(known, visitors, chosen.together_days)
    makers: dict[str, Callable[[], Engine]] = {
        CO_VISITS: lambda: co_visits(known, chosen),
        FACTORS: lambda: factors.fit(known.visitor, known.item, items=known.items),
        CONTENT: lambda: content.fit(vectors),
    }
    found = {POPULARITY: popularity(known, chosen.popular_days, len(visitors))}
    for name, make in makers.items():
        started = time.process_time()
        found[name] = make().score_all(done.who, done.what, done.weight, done.visitors)
        seconds[name] = time.process_time() - started
    return found


def popularity(known: Acts, days: float | None, visitors: int) -> Vectors:
    """The same for everybody: acts per item, faded."""
    return np.tile(popular(known, days).astype(np.float32), (visitors, 1))


def choose(
    acts: Acts, first: float, end: float, vectors: Vectors, most: int
) -> tuple[Chosen, dict[str, float]]:
    """Half-lives, shrinkage and weights by NDCG on what came between `first` and `end`."""
    known = acts.before(first)
    visitors = _judged(acts, first, end, most)
    wanted, excluded = _wanted(acts, first, end, visitors)

    def quality(scores: Column) -> float:
        return float(np.nanmean(ranking.ndcg_at(ranking.top(scores, K, excluded), wanted)))

    def together(chosen: Chosen) -> float:
        done = histories(known, visitors, chosen.together_days)
        engine = co_visits(known, chosen)
        return quality(engine.score_all(done.who, done.what, done.weight, done.visitors))

    days: tuple[float | None, ...] = (None, *FADES_DAYS)
    popular_days = max(days, key=lambda one: quality(popularity(known, one, len(visitors))))
    options = [Chosen(popular_days, one, shrinkage) for one in days for shrinkage in SHRINKAGES]
    chosen = max(options, key=together)
    found = sources(known, visitors, vectors, chosen, {})
    ranks = {name: blend.reciprocal_ranks(scores) for name, scores in found.items()}
    return chosen, blend.learned_weights(ranks, wanted, k=K, excluded=excluded)


def _judged(acts: Acts, first: float, end: float, most: int) -> Ints:
    """Visitors who did something before and after, at most so many of them."""
    before = np.unique(acts.visitor[acts.time < first])
    after = np.unique(acts.visitor[(acts.time >= first) & (acts.time < end)])
    both = np.intersect1d(before, after)
    return np.sort(np.random.default_rng(SEED).permutation(both)[:most])


def _wanted(acts: Acts, first: float, end: float, visitors: Ints) -> tuple[Mask, Mask | None]:
    wanted = acts.table(first, end, visitors)
    if acts.is_again:
        return wanted, None
    done = acts.table(-np.inf, first, visitors)
    return wanted & ~done, done


def measure(name: str, acts: Acts, most: int) -> list[str]:
    """The table of one set."""
    vectors, text_seconds = vectors_of(name, acts.texts)
    first, end = np.quantile(acts.time, SPLITS)
    started = time.process_time()
    chosen, weights = choose(acts, first, end, vectors, most)
    choosing = time.process_time() - started
    visitors = _judged(acts, end, np.inf, most)
    wanted, excluded = _wanted(acts, end, np.inf, visitors)
    seconds: dict[str, float] = {}
    found = sources(acts.before(end), visitors, vectors, chosen, seconds)
    ranks = {engine: blend.reciprocal_ranks(scores) for engine, scores in found.items()}
    orders: dict[str, Column] = {**found, "blend": blend.fused(ranks, weights)}
    for engine in found:
        orders[f"blend without {engine}"] = blend.fused(ranks, blend.without(weights, engine))
    tops = {order: ranking.top(scores, K, excluded) for order, scores in orders.items()}
    lines = [
        f"{name}: {len(acts.time):,} acts, {acts.items:,} items, {len(visitors):,} visitors judged; {chosen}",
        f"  weights {weights}; choosing {choosing:.0f} CPU s, text vectors {text_seconds:.0f} CPU s (apart)",
        f"  {'':28}{'recall@20':>10}{'95 %':>16}{'NDCG@20':>9}{'95 %':>16}{'blend − it':>11}{'95 %':>18}{'coverage':>9}{'CPU s':>7}",
    ]
    mine = ranking.ndcg_at(tops["blend"], wanted)
    keep = ~np.isnan(mine)
    unit = np.arange(int(keep.sum()))
    for order, lists in tops.items():
        recall, ndcg = ranking.recall_at(lists, wanted)[keep], ranking.ndcg_at(lists, wanted)[keep]
        r, n, d = (mean_interval(one, unit) for one in (recall, ndcg, mine[keep] - ndcg))
        lines.append(
            f"  {order:28}{r[0]:10.4f}{f'{r[1]:.4f}–{r[2]:.4f}':>16}{n[0]:9.4f}{f'{n[1]:.4f}–{n[2]:.4f}':>16}"
            f"{d[0]:+11.4f}{f'{d[1]:+.4f}–{d[2]:+.4f}':>18}{ranking.coverage(lists, acts.items):9.3f}"
            f"{seconds.get(order, 0.0):7.1f}"
        )
    return lines


SETS = {"movietweetings": movietweetings, "online_retail_ii": online_retail_ii}


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--visitors", type=int, default=1_000, help="most visitors judged of each set")
    asked.add_argument("sets", nargs="*", default=list(SETS))
    options = asked.parse_args()
    folder = Path(os.environ.get("ADPLATFORM_DATA", ""))
    started = time.process_time()
    for name in options.sets:
        if not (folder / name).is_dir():
            print(f"{name}: absent ({folder / name}); set ADPLATFORM_DATA to the folder that holds it")
            continue
        print("\n".join(measure(name, SETS[name](folder), options.visitors)), flush=True)
    print(f"{time.process_time() - started:.0f} CPU s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
