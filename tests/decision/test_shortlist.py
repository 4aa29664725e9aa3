"""The first stage: who is ranked follows from worth and rough odds, whatever the order and however large the market."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.bitmaps import bits_of, rows_of
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.engine import decide
from adplatform.decision.shortlist import Shortlist, chosen
from adplatform.decision.types import BidStrategy, Candidate, Seen

from .factories import TableScorer, candidate, request, slot


def market(size: int, seed: int) -> tuple[CandidateSet, TableScorer]:
    """Ads of all worths and probabilities; one in four pays per impression."""
    rng = Random(seed)
    people: list[Candidate] = []
    table: dict[int, tuple[float, float]] = {}
    for id in range(1, size + 1):
        strategy = BidStrategy.MANUAL_CPM if rng.random() < 0.25 else BidStrategy.MANUAL_CPC
        people.append(candidate(id, bid_strategy=strategy, bid_micros=rng.randint(100_000, 3_000_000)))
        table[id] = (min(0.5, rng.lognormvariate(-4.6, 0.8)), 0.0)
    return CandidateSet(people), TableScorer(table)


def standing(fixed: CandidateSet, scorer: TableScorer) -> np.ndarray:
    return np.log([scorer.table[one.creative_id][0] for one in fixed])


def test_who_would_win_among_all_is_on_the_shortlist() -> None:
    fixed, scorer = market(3_000, 1)
    shortlist = Shortlist(fixed, standing(fixed, scorer))
    asked = {"request": request(slot(floor_micros=0)), "candidates": fixed, "scorer": scorer, "epsilon": 0.0}
    for seed in range(20):
        few, all_ = (
            decide(**asked, seen=Seen(), rng=Random(0), seed=seed, ranked=ranked, shortlist=given)
            for ranked, given in ((20, shortlist), (3_000, None))
        )
        assert few.picks[0].candidate is all_.picks[0].candidate


def test_a_request_looks_at_few_of_many() -> None:
    fixed, scorer = market(4_096, 2)
    looked_at = Shortlist(fixed, standing(fixed, scorer)).narrowed((1 << len(fixed)) - 1, 20)
    assert 4 * 20 <= len(looked_at) <= 4 * 4 * 20
    assert len(set(looked_at.tolist())) == len(looked_at)


def test_rare_eligibility_looks_at_everybody_left() -> None:
    fixed, scorer = market(2_048, 3)
    eligible = np.arange(len(fixed)) % 100 == 7
    found = Shortlist(fixed, standing(fixed, scorer)).narrowed(bits_of(eligible), 20)
    assert sorted(found.tolist()) == np.flatnonzero(eligible).tolist()


def test_a_request_looks_where_its_topics_are() -> None:
    fixed, scorer = market(4_096, 4)
    topic = np.arange(len(fixed)) % 8
    shortlist = Shortlist(fixed, standing(fixed, scorer), topic)
    lifts = np.where(np.arange(8) == 3, 4.0, 0.0)
    everybody = (1 << len(fixed)) - 1
    indifferent, keen = (
        [topic[row] for row in shortlist.narrowed(everybody, 20, given).tolist() if fixed.pays_per_click[row]]
        for given in (np.zeros(8), lifts)
    )
    assert indifferent.count(3) < len(indifferent) / 4
    assert keen.count(3) > len(keen) / 2


def test_who_promises_most_is_looked_at() -> None:
    fixed, scorer = market(4_096, 5)
    topic, lifts = np.arange(len(fixed)) % 8, np.linspace(0, 2, 8)
    shortlist = Shortlist(fixed, standing(fixed, scorer), topic)
    looked_at = set(shortlist.narrowed((1 << len(fixed)) - 1, 20, lifts).tolist())
    promise = shortlist.base + lifts[topic]
    best = [row for row in np.argsort(-promise).tolist() if fixed.pays_per_click[row]][:20]
    assert looked_at >= set(best)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 45),
    st.randoms(use_true_random=False),
)
def test_the_choice_is_full_fair_and_knows_no_order(
    ads: list[tuple[int, bool]], ranked: int, chance: Random
) -> None:
    value, clicks = np.array([float(one) for one, _ in ads]), np.array([by for _, by in ads])
    ids = np.arange(1, len(ads) + 1)
    found = set(ids[chosen(np.arange(len(ids)), value, clicks, ids, ranked)].tolist())
    assert len(found) == min(ranked, len(ads))
    order = np.array(chance.sample(range(len(ads)), len(ads)))
    again = chosen(np.arange(len(ids)), value[order], clicks[order], ids[order], ranked)
    assert set(ids[order][again].tolist()) == found
    for side in (clicks, ~clicks):  # nobody left out is better than somebody taken of the same side
        out = [value[id - 1] for id in ids[side].tolist() if id not in found]
        taken = [value[id - 1] for id in ids[side].tolist() if id in found]
        assert not out or not taken or max(out) <= min(taken)


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_rows_and_bits_are_the_same(flags: list[bool]) -> None:
    given_ = np.array(flags, np.bool_)
    assert rows_of(bits_of(given_), len(flags)).tolist() == np.flatnonzero(given_).tolist()
