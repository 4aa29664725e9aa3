"""What following the live counters costs a serving process: python -m bench.counters [--line-items N …] [--rates N …] [--rounds N]

Every two seconds a process takes in what was counted meanwhile and prepares it for requests. Two ways, in turns on the same
counters of the Valkey that REDIS_URL names (a database of it that is empty, and is again at the end): all of them as text, parsed and
computed anew, as it was once done; and what the stream says has changed. Processor milliseconds per refresh, the longest
that another thread waited for the interpreter meanwhile (beside what it waits when nothing happens), the part of one core
that this takes at a refresh every two seconds, and what reading everything costs at the start or after a gap.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import redis

from adplatform import settings
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.types import BidStrategy, Candidate
from adplatform.learning import statistics
from adplatform.learning.served import Models, Projected
from adplatform.learning.statistics import COLUMNS, ENTITIES, EVERYTHING, Counts, LiveStatistics, View
from ml.schema import Floats, Ints

REFRESH_SECONDS = 2.0
TRANSACTION = 500  # events
SLOTS, SITES = 500, 50
PER_CAMPAIGN, PER_ADVERTISER = 3, 50
NAP_SECONDS = 0.0005
_LETTERS = ((b"i", 0), (b"c", 1), (b"x", 2), (b"C200", 3), (b"X200", 4))
EPOCH = 200.0


class Market:
    """Counters of so many line items with a creative each, and the hashes that hold them in both forms."""

    def __init__(self, hot: redis.Redis, line_items: int) -> None:
        self.hot, self.rng = hot, np.random.default_rng(1)
        self.owner = {
            "creative": np.arange(1, line_items + 1),
            "line_item": np.arange(1, line_items + 1),
            "campaign": 1 + np.arange(line_items) // PER_CAMPAIGN,
            "advertiser": 1 + np.arange(line_items) // PER_ADVERTISER,
        }
        sizes = {name: int(ids.max()) for name, ids in self.owner.items()} | {"slot": SLOTS, "site": SITES}
        shown = self.rng.integers(0, 5_000, line_items).astype(np.float64)
        self.rows = {name: np.zeros((size + 1, COLUMNS)) for name, size in sizes.items()}
        for name, ids in self.owner.items():
            self._count(name, ids, shown)
        self._count("slot", self.rng.integers(1, SLOTS + 1, line_items), shown)
        self._count("site", self.rng.integers(1, SITES + 1, line_items), shown)
        hot.flushdb()
        for name in ENTITIES:
            for ids in np.array_split(
                np.arange(1, len(self.rows[name])), max(1, len(self.rows[name]) // 2_000)
            ):
                self._write(hot, {name: ids})
        statistics.write(hot, self._packed({EVERYTHING: np.zeros(1, np.int64)}))
        statistics.start_anew(hot)

    def happen(self, events: int) -> None:
        """So many events, in transactions as ingest writes them."""
        while events > 0:
            size = min(events, TRANSACTION)
            events -= size
            ads = self.rng.integers(0, len(self.owner["creative"]), size)
            touched = {name: ids[ads] for name, ids in self.owner.items()}
            touched |= {
                "slot": self.rng.integers(1, SLOTS + 1, size),
                "site": self.rng.integers(1, SITES + 1, size),
            }
            for name, ids in touched.items():
                self._count(name, ids, np.ones(size))
            ids_of = {name: np.unique(ids) for name, ids in touched.items()}
            with self.hot.pipeline(transaction=True) as pipeline:
                self._write(pipeline, ids_of)
                changes = self._packed(ids_of | {EVERYTHING: np.zeros(1, np.int64)})
                statistics.announce(pipeline, changes, now_milliseconds=int(time.time() * 1_000))
                pipeline.execute()

    def _count(self, name: str, ids: Ints, shown: Floats) -> None:
        rows, clicked = self.rows[name], shown // 90
        for column, amounts in enumerate((shown, clicked, shown, clicked, shown)):
            np.add.at(rows[:, column], ids, amounts)
        if name in statistics.REMEMBERED:
            rows[ids, statistics.EPOCH] = EPOCH
        else:
            rows[:, 3:] = 0.0

    def _packed(self, ids_of: Mapping[str, Ints]) -> statistics.Changes:
        whole = {EVERYTHING: self.rows["slot"].sum(axis=0)[None]}
        return {
            name: (ids, whole[name] if name in whole else self.rows[name][ids])
            for name, ids in ids_of.items()
        }

    def _write(self, pipeline: Any, ids_of: Mapping[str, Ints]) -> None:
        """Packed, and as text under other keys."""
        statistics.write(pipeline, self._packed(ids_of))
        for name, ids in ids_of.items():
            fields = {
                b"%d:%b" % (one, letter): repr(self.rows[name][one, column].item())
                for one in ids.tolist()
                for letter, column in (_LETTERS if name in statistics.REMEMBERED else _LETTERS[:3])
            }
            pipeline.hset(f"text:{name}", mapping=fields)

    def candidates(self) -> CandidateSet:
        return CandidateSet(
            [
                Candidate(
                    creative_id=int(one),
                    line_item_id=int(one),
                    campaign_id=int(self.owner["campaign"][row]),
                    advertiser_id=int(self.owner["advertiser"][row]),
                    width=300,
                    height=250,
                    currency="USD",
                    bid_strategy=BidStrategy.MANUAL_CPC if row % 5 else BidStrategy.MANUAL_CPM,
                    bid_micros=100_000 + 1_000 * (row % 997),
                    remaining_micros=10**12,
                )
                for row, one in enumerate(self.owner["creative"].tolist())
            ]
        )


def as_text(hot: redis.Redis) -> View:
    """All counters from hashes of text, a field per number."""
    pipeline = hot.pipeline(transaction=True)
    for name in ENTITIES:
        pipeline.hgetall(f"text:{name}")
    answers = pipeline.execute()
    columns = {letter[:1]: column for letter, column in _LETTERS}
    found = {}
    for name, fields in zip(ENTITIES, answers, strict=True):
        rows: dict[int, list[float]] = {}
        for field, value in fields.items():
            key, _, kind = field.partition(b":")
            rows.setdefault(int(key), [0.0] * COLUMNS)[columns[kind[:1]]] += float(value)
        ids = sorted(rows)
        found[name] = Counts().with_rows(np.array(ids), np.array([rows[one] for one in ids]))
    return View(**found)


class Waits(threading.Thread):
    """Another thread of the process, which is busy a moment every half millisecond: how long does it wait for its turn?"""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.longest, self._ends = 0.0, threading.Event()

    def run(self) -> None:
        while not self._ends.is_set():
            began = time.perf_counter()
            time.sleep(NAP_SECONDS)
            self.longest = max(self.longest, time.perf_counter() - began - NAP_SECONDS)

    def end(self) -> float:
        self._ends.set()
        self.join()
        return self.longest


@dataclass(frozen=True)
class Cost:
    """Medians over the rounds."""

    cpu_ms: float
    wait_ms: float

    @classmethod
    def of(cls, rounds: list[tuple[float, float]]) -> Cost:
        cpu, wait = np.median(np.array(rounds), axis=0) * 1_000
        return cls(float(cpu), float(wait))

    def __str__(self) -> str:
        return f"{self.cpu_ms:9.1f} {self.wait_ms:8.1f} {self.cpu_ms / REFRESH_SECONDS / 10:7.2f} %"


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds of the process, and the longest wait of the other thread."""
    cpu = time.process_time()
    action()
    spent = time.process_time() - cpu
    waits = Waits()
    waits.start()
    action()
    return spent, waits.end()


def models() -> Models:
    nothing = Projected(np.empty(0, np.int64), np.zeros((1, 8), np.float32))
    named = {"encoder": "bench", "matcher": "none", "blender": "none"}
    settings_of = {"versions": named, "bias": 0.0, "text_weight": 1.0}
    return Models(creatives=nothing, sites=nothing, blender=None, settings=settings_of)


def measure(hot: redis.Redis, line_items: int, rate: int, rounds: int) -> dict[str, Cost]:
    """Each way's cost, and that of nothing at all and of reading everything."""
    market = Market(hot, line_items)
    fixed, following, plain = market.candidates(), models(), models()
    live = LiveStatistics()
    following.prepare(fixed, live.read(hot))
    plain.aligned(fixed)

    def before() -> None:
        plain._counts = ()
        plain.prepare(fixed, as_text(hot))

    def after() -> None:
        following.prepare(fixed, live.read(hot))

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("idle", "all", "text", "changes")}
    for _ in range(rounds):
        found["idle"].append(timed(lambda: time.sleep(0.02)))
        found["text"].append(timed(before))
        found["changes"].append(_followed(market, after, int(rate * REFRESH_SECONDS)))
        found["all"].append(timed(lambda: LiveStatistics().read(hot)))
    return {name: Cost.of(one) for name, one in found.items()}


def _followed(market: Market, refresh: Callable[[], None], events: int) -> tuple[float, float]:
    """`timed`, where each time something has happened before."""
    market.happen(events)
    cpu = time.process_time()
    refresh()
    spent = time.process_time() - cpu
    market.happen(events)
    waits = Waits()
    waits.start()
    refresh()
    return spent, waits.end()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--line-items", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rates", type=int, nargs="+", default=[500, 5_000], help="events a second")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    hot = redis.Redis.from_url(settings.REDIS_URL)
    if hot.dbsize():
        parser.error("the database of REDIS_URL holds something: name one that is empty (redis://…/9)")
    print(f"{'line items':>10} {'events/s':>8}  {'':24}{'CPU ms':>9} {'wait ms':>8} {'of a core':>9}")
    try:
        for line_items in chosen.line_items:
            for rate in chosen.rates:
                show(line_items, rate, measure(hot, line_items, rate, chosen.rounds))
    finally:
        hot.flushdb()


def show(line_items: int, rate: int, costs: Mapping[str, Cost]) -> None:
    for name, says in (
        ("text", "all, as text"),
        ("changes", "what changed"),
        ("all", "everything, once"),
        ("idle", "(nothing)"),
    ):
        print(f"{line_items:10,} {rate:8,}  {says:24}{costs[name]}")
    ratio = costs["text"].cpu_ms / costs["changes"].cpu_ms
    print(f"{'':20}  CPU of all as text : what changed = {ratio:.1f}", flush=True)


if __name__ == "__main__":
    main()
