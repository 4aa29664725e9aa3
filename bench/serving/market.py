"""The market that `bench.serving` asks: as `seed_market` makes them, written straight into a snapshot folder.

10,000 line items through the services and the database take minutes and change nothing about a request, which reads
the snapshot alone. Vectors are random, the blender's trees were trained on noise: they cost what real ones cost.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import redis

from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.decision.types import CapScope
from adplatform.learning import served
from adplatform.learning.statistics import (
    COLUMNS,
    EVERYTHING,
    HASHES,
    LAYOUT,
    LAYOUT_KEY,
    UNTIL_KEY,
    start_anew,
    stat_key,
    visitor_key,
    write,
)
from adplatform.serving import columns, consent, snapshot
from adplatform.serving.counters import cap_field, cap_key
from adplatform.serving.lease_protocol import EPOCH_KEY, Grant, Ledger
from adplatform.serving.render import AdText
from ml import artifacts
from ml.ctr import features, first_stage
from ml.ctr.blender import train_blender
from ml.ctr.calibration import Calibration
from ml.ctr.compile import compile_blender
from ml.ctr.features import NAMES, SCHEMA

VISITORS = 200
CLOSENESS = 0.6  # of a text to its topic
NEAR = CLOSENESS**2 / (1 + CLOSENESS**2)  # mean score of two texts of one topic
ADVERTISERS = 97
WORDS = ("trail", "running", "garden", "cooking", "finance", "travel", "music", "science", "cars", "books")
COUNTRIES = ("DE", "FR", "US", "GB", "PL")
LANGUAGES = ("en", "de", "fr")
STRATEGIES = ("manual_cpc", "manual_cpm", "maximise_clicks", "target_cpa", "target_roas")
AGREED = consent.encode({1, 3, 4})


def write_market(root: Path, *, line_items: int, slots: int, seed: int) -> list[str]:
    """A snapshot folder, made current; returns the slots' public ids."""
    rng = Random(seed)
    folder = root / "snapshots" / "bench"
    (folder / snapshot.MODELS).mkdir(parents=True)
    rows = [slot_row(number, rng) for number in range(1, slots + 1)]
    contents = snapshot.Contents(
        format=snapshot.FORMAT,
        version="bench",
        built_at=clock.now(),
        slots=rows,
        ads=line_items,
        keys=[],
        landings={},
        versions={"matcher": "bench", "blender": "bench", "encoder": "bench"},
    )
    columns.write(folder, [candidate_row(number, rng) for number in range(1, line_items + 1)])
    write_models(folder / snapshot.MODELS, line_items=line_items, sites=slots, seed=seed)
    (folder / snapshot.CONTENTS).write_bytes(msgspec.msgpack.encode(contents))
    files = {
        str(path.relative_to(folder)): snapshot.sha256(path) for path in folder.rglob("*") if path.is_file()
    }
    (folder / snapshot.MANIFEST).write_bytes(msgspec.json.encode(snapshot.Manifest(files)))
    (root / "snapshots" / snapshot.CURRENT).write_text("bench")
    return [row.public_id for row in rows]


def slot_row(number: int, rng: Random) -> snapshot.SlotRow:
    return snapshot.SlotRow(
        id=number,
        public_id=f"slot{number:06d}",
        site_id=number,
        publisher_id=number,
        format="banner",
        width=300,
        height=250,
        position=rng.randint(1, 5),
        floor_micros=rng.randrange(0, 500_000),
        currency="USD",
        domain=f"site{number}.example",
        category=rng.choice(WORDS),
        time_zone="UTC",
        language=rng.choice(LANGUAGES),
    )


def candidate_row(number: int, rng: Random) -> snapshot.CandidateRow:
    """A line item with one creative: about three in ten are eligible for a request."""
    text = AdText(
        "banner",
        300,
        250,
        f"Headline of ad {number}",
        "Two lines about it.",
        "Go",
        f"Brand {number % ADVERTISERS}",
        "en",
    )
    return snapshot.CandidateRow(
        creative_id=number,
        line_item_id=number,
        campaign_id=1 + number // 3,
        advertiser_id=1 + number % ADVERTISERS,
        creative_public_id=f"creative-{number}",
        line_item_public_id=f"line-item-{number}",
        campaign_public_id=f"campaign-{1 + number // 3}",
        advertiser_public_id=f"advertiser-{1 + number % ADVERTISERS}",
        text=text,
        currency="USD" if rng.random() < 0.9 else "EUR",
        language="en",
        category=rng.choice(("", "", *WORDS)),
        landing_url=f"https://shop{number}.example/offer",
        targeting=json.dumps(targeting_rules(rng), sort_keys=True),
        bid_strategy=rng.choice(STRATEGIES),
        bid_micros=rng.randrange(200_000, 3_000_000),
        target_roas_bp=30_000,
        value_micros=rng.randrange(5_000_000, 60_000_000),
        pcvr=0.02,
        pace=rng.uniform(0.5, 1.0),
        remaining_micros=10**12,
        start_at=clock.now() - timedelta(days=1),
        end_at=None,
        caps=[
            snapshot.CapRow(scope.value, rng.randint(5, 40), rng.choice((3_600, 86_400, 604_800)))
            for scope in CapScope
        ],
        time_zone=rng.choice(("UTC", "Europe/Berlin", "America/New_York")),
        impressions=rng.randrange(5_000),
        clicks=rng.randrange(50),
    )


def targeting_rules(rng: Random) -> dict[str, Any]:
    """Country, language, device, keyword, category, daypart; a line item has some of them."""
    rules: dict[str, Any] = {}
    if rng.random() < 0.5:
        rules["country"] = {"include": rng.sample(COUNTRIES, 3)}
    if rng.random() < 0.3:
        rules["language"] = {"include": rng.sample(LANGUAGES, 2)}
    if rng.random() < 0.3:
        rules["device"] = {"include": rng.sample(("desktop", "mobile", "tablet"), 2)}
    if rng.random() < 0.2:
        rules["keyword"] = {"exclude": rng.sample(WORDS, 2)}
    if rng.random() < 0.1:
        rules["category"] = {"include": rng.sample(WORDS, 5)}
    if rng.random() < 0.05:
        rules["segment"] = {"include": [rng.randint(1, 20)]}
    if rng.random() < 0.2:
        hours = sorted(rng.sample(range(24), 18))
        rules["daypart"] = {day: hours for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    return rules


def write_models(folder: Path, *, line_items: int, sites: int, seed: int) -> None:
    """The models' part: vectors of 384 dimensions and 200 trees or so."""
    rng = np.random.default_rng(seed)
    arrays = {
        served.CREATIVE_IDS: np.arange(1, line_items + 1),
        served.CREATIVES: vectors(rng, line_items),
        served.SITE_IDS: np.arange(1, sites + 1),
        served.SITES: vectors(rng, sites),
    }
    arrays |= served.short_form(arrays[served.CREATIVES][:-1])
    for name, array in arrays.items():
        np.save(folder / name, array, allow_pickle=False)
    settings = {
        "versions": {"matcher": "bench", "blender": "bench", "encoder": "bench"},
        "bias": 0.0,
        "text_weight": 1.0,
    }
    (folder / served.SETTINGS).write_text(json.dumps(settings))
    write_blender(folder / served.BLENDER, rng, seed)
    dates = ("a", "b")
    artifacts.write(
        folder,
        kind=served.KIND,
        files=[*arrays, served.SETTINGS],
        metrics={},
        schema="bench",
        seed=1,
        data_range=dates,
    )


def write_blender(folder: Path, rng: np.random.Generator, seed: int) -> None:
    """Trees over rows as serving builds them, clicked by a rule of their rates, texts and devices."""
    folder.mkdir()
    X = features.build(rows_of_a_log(rng, 60_000))
    at = {name: X[:, number] for number, name in enumerate(NAMES)}
    truth = (
        np.log(at["creative_ctr"] / 0.01)
        + 5 * at["text_score"]
        + np.log(at["slot_lift"])
        + 0.3 * (at["device"] == 1)
        + np.sin(at["hour"] / 4) / 4
        - 0.2 * at["frequency_log"]
        - 4.4
    )
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-truth))).astype(float)
    trees = train_blender(X, y, time_order=np.arange(len(X)), seed=seed)
    first = first_stage.fit(X, logit(trees.predict(X)))
    files = [
        trees.save(folder),
        compile_blender(trees, folder),
        Calibration().save(folder),
        first.save(folder),
    ]
    artifacts.write(
        folder, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=1, data_range=("a", "b")
    )


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def rows_of_a_log(rng: np.random.Generator, size: int) -> dict[str, Any]:
    """Plausible numbers of ml.ctr.features.RAW."""
    shown = np.floor(rng.exponential(2_000, size))
    clicks = rng.poisson(shown * rng.lognormal(-4.6, 0.7, size))
    person = np.floor(rng.exponential(40, size))
    lift = rng.lognormal(0, 0.5, size)
    return {
        "text_score": np.where(rng.random(size) < 0.3, NEAR, 0.0) + rng.normal(0, 0.05, size),
        "global_impressions": 1e6,
        "global_clicks": 1e4,
        "global_expected": 1e4,
        "creative_impressions": shown,
        "creative_clicks": clicks,
        "creative_exposure": shown,
        "line_item_impressions": shown * 2,
        "line_item_clicks": clicks * 2,
        "line_item_exposure": shown * 2,
        "campaign_clicks": clicks * 3,
        "campaign_exposure": shown * 3,
        "advertiser_clicks": clicks * 9,
        "advertiser_exposure": shown * 9,
        "slot_impressions": 1e4,
        "slot_clicks": 100 * lift,
        "slot_expected": 100.0,
        "site_clicks": 300 * lift,
        "site_expected": 300.0,
        "visitor_impressions": person,
        "visitor_clicks": rng.poisson(person * 0.01),
        "visitor_expected": person * 0.01,
        "frequency": rng.poisson(0.7, size),
        "position": rng.integers(1, 6, size),
        "hour": rng.integers(0, 24, size),
        "weekday": rng.integers(0, 7, size),
        "device": rng.integers(0, 3, size),
        "has_profile": 1.0,
        "format": 0.0,
        "width": 300.0,
        "height": 250.0,
    }


def vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors, with the row of zeros at the end that stands for ids without one. They lie around some topics, as
    texts do."""
    topics = np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32)
    own = topics[rng.integers(0, len(topics), count)]
    made = CLOSENESS * own + rng.normal(size=(count, 384)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.vstack([made, np.zeros((1, 384), np.float32)])


def write_visitors(hot: redis.Redis, seed: int, *, line_items: int) -> None:
    """Readers with a profile, a past and counted caps, and the live statistics of every ad."""
    rng = np.random.default_rng(seed)
    at = clock.now()
    with hot.pipeline(transaction=False) as pipe:
        for number in range(VISITORS):
            name = pseudonym(f"reader-{number}")
            profile = vectors(rng, 1)[0].astype("<f2").tobytes()
            met = rng.integers(1, line_items + 1, 20).tolist()
            seen = {f"l:{one}": 1 for one in met}
            pipe.hset(
                visitor_key(name), mapping={"u": profile, "m": "bench", "n": 40, "c": 1, "e": "0.8", **seen}
            )
            pipe.expire(visitor_key(name), 3_600)
            caps: dict[Any, int] = {
                cap_field(scope, one, 86_400, at): 2
                for one in met[:10]
                for scope in ("creative", "line_item")
            }
            caps |= {cap_field("advertiser", 1 + one % ADVERTISERS, 86_400, at): 3 for one in met}
            pipe.delete(cap_key(name))
            pipe.hset(cap_key(name), mapping=caps)
            pipe.expire(cap_key(name), 3_600)
        pipe.execute()
    write_statistics(hot, rng, line_items=line_items)
    write_budgets(hot, campaigns=1 + line_items // 3)


def write_budgets(hot: redis.Redis, *, campaigns: int) -> None:
    """What the worker of budget leases would write: more than can be spent."""
    run_id = hot.info("server")["run_id"]
    hot.hset(EPOCH_KEY, mapping={"number": 1, "run": run_id, "serial": 1})
    Ledger(hot).grant(1, [Grant(number, 10**12, 10**12) for number in range(1, campaigns + 1)], [])


def write_statistics(hot: redis.Redis, rng: np.random.Generator, *, line_items: int) -> None:
    ids, shown = np.arange(1, line_items + 1), rng.integers(0, 5_000, line_items).astype(np.float64)
    rows = np.zeros((line_items, COLUMNS))
    rows[:, 0] = rows[:, 2] = shown
    rows[:, 1] = shown // 90
    total = np.array([[shown.sum(), shown.sum() // 90, shown.sum() / 90, 0.0, 0.0, 0.0]])
    with hot.pipeline(transaction=False) as pipe:
        pipe.delete(*(stat_key(name) for name in HASHES))
        write(pipe, {"creative": (ids, rows), "line_item": (ids, rows)})
        write(pipe, {"slot": (np.ones(1, np.int64), total), EVERYTHING: (np.zeros(1, np.int64), total)})
        start_anew(pipe)
        pipe.set(LAYOUT_KEY, LAYOUT)
        pipe.set(UNTIL_KEY, clock.now().timestamp())
        pipe.execute()


def question(rng: Random, slots: list[str]) -> bytes:
    """A POST body: one placement, a reader who agreed, what the page is about."""
    body = {
        "placements": [{"id": "a", "slot": rng.choice(slots)}],
        "user": {"id": f"reader-{rng.randrange(VISITORS)}", "consent": {"tcf": AGREED}},
        "context": {
            "url": "https://site.example/page",
            "keywords": rng.sample(WORDS, 3),
            "language": rng.choice(LANGUAGES),
        },
    }
    return json.dumps(body).encode()
