"""How good the picks are, told by the truth: the same requests, one ad each, chosen by simpler models, by ours, by an oracle.

Each policy sees every ad that fits the slot and shows the one that it believes most likely to be clicked. What counts
is the true click probability of that ad, which only the demo's truth knows; nobody's label is drawn, so that the
intervals come from the sample of requests alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

import numpy as np
from numpy.typing import NDArray

from adplatform.core import pseudonym
from adplatform.decision.types import AdRequest, Candidates, Slot
from adplatform.demo.build import Market
from adplatform.demo.catalogue import Offer
from adplatform.demo.truth import Truth
from adplatform.demo.visits import Visit
from adplatform.learning import engines, picks
from adplatform.learning.contenders import PRIOR, contenders
from adplatform.learning.scorer import RequestScorer
from adplatform.serving.server import Server
from adplatform.serving.snapshot import Snapshot
from ml.evaluation.metrics import mean_interval

ORACLE, CHANCE = "oracle", "chance"
BOOTSTRAPS = 1_000
MIDDLE, EVENING = 2, 20  # position and hour at which picks are judged

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standing:
    """One policy: true clicks per 1,000 ads with a 95 % interval, and its share of what the oracle gains over the
    prior."""

    policy: str
    clicks_per_mille: float
    low: float
    high: float
    share_of_oracle_gain: float


def compare(
    *,
    truth: Truth,
    market: Market,
    seen: Mapping[tuple[int, str], int],
    server: Server,
    visits: list[Visit],
    until: datetime,
    seed: int,
) -> list[Standing]:
    """Standings from worst to best, on these page views (one slot of each).

    `until`: what the models may know; `seen`: how often each person had seen each headline by then.
    """
    snapshot = server.snapshot
    if snapshot is None:
        raise RuntimeError("there is no snapshot to compare on")
    policies = contenders(snapshot.models, until=until, seed=seed)
    rng = Random(seed)
    gained: dict[str, list[float]] = {name: [] for name in (CHANCE, *policies, ORACLE)}
    for visit in visits:
        request, slot, position = _request(visit, truth, market, snapshot, rng)
        candidates = _fitting(snapshot, slot)
        p = _true_probabilities(truth, market, seen, candidates, visit=visit, position=position)
        scorer = RequestScorer(snapshot.models, _known(server, request), server.statistics.view)
        raw = scorer.raw(request, slot, candidates)
        for name, policy in policies.items():
            gained[name].append(float(p[int(np.argmax(policy(raw)))]))
        gained[CHANCE].append(float(p.mean()))
        gained[ORACLE].append(float(p.max()))
    return _standings({name: np.array(values) for name, values in gained.items()}, seed)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Picks for consenting visitors whose candidates came from the transformer alone, or also from the engines: true
    clicks per 1,000 of the first pick and of all ten, and what the engines add (mean, low, high)."""

    picks: str
    alone: float
    with_engines: float
    gain: tuple[float, float, float]


def compare_retrieval(
    *, truth: Truth, market: Market, seen: Mapping[tuple[int, str], int], at: datetime
) -> list[Retrieval]:
    """Both ways to retrieve, ranked by the same blender, also where the engines are fitted and not used."""
    shelf = picks.library(at)
    sources = engines.fitted(shelf.encoder)
    if sources is None:
        return []
    people = {pseudonym.pseudonym(one.key): number for number, one in enumerate(truth.people) if one.agreed}

    def worth(way: picks.Library) -> Floats:
        best = picks.best(way, list(people), at=at)
        ads = [[market.ads[int(shelf.creative[ad])].offer for ad in row] for row in best.ad.tolist()]
        return np.array(
            [
                [_in_the_evening(truth, person, offer, seen) for offer in offers]
                for person, offers in zip(people.values(), ads, strict=True)
            ]
        )

    alone = worth(replace(shelf, sources=None))
    blended = worth(replace(shelf, sources=sources, item=sources.fitted.codes(shelf.texts)))
    unit = np.arange(len(people))
    return [
        Retrieval(
            words,
            1000 * float(alone[:, :count].mean()),
            1000 * float(blended[:, :count].mean()),
            mean_interval(1000 * (blended - alone)[:, :count].mean(axis=1), unit),
        )
        for words, count in (("first", 1), ("all ten", picks.TOP))
    ]


def _in_the_evening(truth: Truth, person: int, offer: Offer, seen: Mapping[tuple[int, str], int]) -> float:
    """True click probability of an ad in the middle of a page."""
    known = seen.get((person, offer.headline), 0)
    return truth.click_probability(truth.people[person], offer, position=MIDDLE, seen=known, hour=EVENING)


def _request(
    visit: Visit, truth: Truth, market: Market, snapshot: Snapshot, rng: Random
) -> tuple[AdRequest, Slot, int]:
    person = truth.people[visit.person]
    place = rng.choice(market.sites[visit.site])
    request = AdRequest(
        request_id="compare",
        at=visit.at,
        placements=(),
        visitor=pseudonym.pseudonym(person.key) if person.agreed else None,
        country=person.country,
        device=person.device,
    )
    return request, snapshot.slots[place.slot.public_id], place.slot.position


def _known(server: Server, request: AdRequest) -> Mapping[bytes, bytes]:
    if request.visitor is None:
        return {}
    known = server.visitors.read(request.visitor)
    return known.visitor if known else {}


def _fitting(snapshot: Snapshot, slot: Slot) -> Candidates:
    """Every ad of the slot's size, so that all policies choose from the same."""
    size = (slot.format, slot.width, slot.height)
    fixed = snapshot.candidates
    rows = [row for row, one in enumerate(fixed) if (one.format, one.width, one.height) == size]
    return Candidates(fixed, np.array(rows, np.int64))


def _true_probabilities(
    truth: Truth,
    market: Market,
    seen: Mapping[tuple[int, str], int],
    candidates: Candidates,
    *,
    visit: Visit,
    position: int,
) -> Floats:
    person = truth.people[visit.person]
    offers = [market.ads[one.creative_id].offer for one in candidates]
    return np.array(
        [
            truth.click_probability(
                person,
                offer,
                position=position,
                seen=seen.get((visit.person, offer.headline), 0),
                hour=visit.hour,
            )
            for offer in offers
        ]
    )


def _standings(gained: Mapping[str, Floats], seed: int) -> list[Standing]:
    draws = np.random.default_rng(seed).integers(0, len(gained[ORACLE]), (BOOTSTRAPS, len(gained[ORACLE])))
    floor, most = gained[PRIOR].mean(), gained[ORACLE].mean()
    standings = []
    for name, values in gained.items():
        low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
        share = (values.mean() - floor) / (most - floor)
        standings.append(
            Standing(name, 1000 * values.mean(), 1000 * float(low), 1000 * float(high), float(share))
        )
    return sorted(standings, key=lambda one: one.clicks_per_mille)
