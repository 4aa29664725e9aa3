"""Counted outcomes of line items: equal to counting one by one, and they add up to the opportunities."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.candidates import CandidateSet
from adplatform.decision.engine import decide
from adplatform.decision.reasons import NoAd
from adplatform.decision.tally import NOT_ASKED, OUTCOMES, WON, Planes, Tally
from adplatform.decision.types import Seen
from tests.decision import strategies as s
from tests.decision.factories import NOON, TableScorer, candidate, request, slot


def tallied(tally: Tally) -> Counter:
    """Opportunities by (hour, source, line item, outcome)."""
    found: Counter = Counter()
    for counted in tally.take():
        for line_item, row in zip(counted.line_item.tolist(), counted.counts.tolist(), strict=True):
            for outcome, n in zip(counted.outcomes, row, strict=True):
                if n:
                    found[counted.hour, counted.source, line_item, outcome] += n
    return found


def one_by_one(decision, fixed) -> Counter:
    """The definition, ad by ad: won, else what stopped the ad that came furthest, the ranked before the others."""
    found: Counter = Counter()
    for outcome in decision.outcomes:
        if outcome.placement.slot is None:
            continue
        furthest: dict[int, tuple[bool, int]] = {}
        for pick in outcome.picks:
            furthest[pick.candidate.line_item_id] = (True, OUTCOMES.index(WON))
        for refused in outcome.refused:
            if refused.reason in NOT_ASKED:
                continue
            for row in refused.row_numbers().tolist():
                place = (refused.rows is not None, OUTCOMES.index(refused.reason))
                line_item = fixed[row].line_item_id
                furthest[line_item] = max(furthest.get(line_item, (False, -1)), place)
        for line_item, (_, code) in furthest.items():
            found[line_item, OUTCOMES[code]] += 1
    return found


@given(s.candidate_lists(40), st.lists(st.tuples(s.requests, s.seens), max_size=30), st.integers(0, 99))
def test_it_equals_counting_one_by_one(candidates, asked, seed) -> None:
    chance = Random(seed)
    items = 1 + chance.randrange(40)  # from many ads in each line item to mostly one
    ads = [replace(one, line_item_id=chance.randint(1, items)) for one in candidates]
    fixed = CandidateSet(sorted(ads, key=lambda one: (one.line_item_id, one.creative_id)))
    tally, expected = Tally(), Counter()
    for request_, seen in asked:
        source = chance.choice(("live", "demo"))
        decision = decide(
            request=request_, candidates=fixed, seen=seen, scorer=TableScorer(), rng=chance, ranked=5
        )
        tally.add(decision.outcomes, fixed, at=request_.at, source=source)
        hour = request_.at.replace(minute=0)
        for (line_item, outcome), n in one_by_one(decision, fixed).items():
            expected[hour, source, line_item, outcome] += n
    assert tallied(tally) == expected
    assert tallied(tally) == Counter()  # taken once


@given(st.lists(st.integers(0, 2**70 - 1), max_size=200))
def test_planes_count_bits(bitmaps) -> None:
    planes = Planes()
    for start in range(0, len(bitmaps), 7):
        planes.add(bitmaps[start : start + 7])
    expected = [sum(bits >> row & 1 for bits in bitmaps) for row in range(70)]
    assert planes.counts(70).tolist() == expected


def test_an_opportunity_is_a_placement_that_fits_and_its_outcome_the_best_of_its_ads() -> None:
    # Line item 1: its large banner does not fit, its other two do and one of them wins; item 2 has no ad of the size;
    # item 3 is kept out by the country in both of its ads, which counts once.
    france = replace(candidate(5), line_item_id=3, bid_micros=9_000_000)
    france = replace(france, targeting=replace(france.targeting, country=s.Rule(include=frozenset({"FR"}))))
    fixed = CandidateSet(
        [
            candidate(1, line_item_id=1, width=728, height=90),
            candidate(2, line_item_id=1, bid_micros=2_000_000),
            candidate(3, line_item_id=1, bid_micros=1_500_000),
            candidate(4, line_item_id=2, width=728, height=90),
            france,
            replace(france, creative_id=6),
            candidate(7, line_item_id=4, bid_micros=1_000_000),
        ]
    )
    tally = Tally()
    for minute in (0, 59, 60):
        asked = request(slot(), country="DE", at=NOON + timedelta(minutes=minute))
        decision = decide(
            request=asked, candidates=fixed, seen=Seen(), scorer=TableScorer(), rng=Random(1), epsilon=0.0
        )
        tally.add(decision.outcomes, fixed, at=asked.at, source="live")
    later = NOON + timedelta(hours=1)
    assert tallied(tally) == {
        (NOON, "live", 1, WON): 2,
        (NOON, "live", 3, NoAd.WRONG_COUNTRY): 2,
        (NOON, "live", 4, NoAd.OUTBID): 2,
        (later, "live", 1, WON): 1,
        (later, "live", 3, NoAd.WRONG_COUNTRY): 1,
        (later, "live", 4, NoAd.OUTBID): 1,
    }


def test_a_new_candidate_list_and_an_empty_one_keep_what_was_counted() -> None:
    tally = Tally()
    for ids in ((1, 2), (2, 3), ()):
        fixed = CandidateSet([candidate(id) for id in ids])
        tally.prepare(fixed)
        decision = decide(
            request=request(), candidates=fixed, seen=Seen(), scorer=TableScorer(), rng=Random(1), epsilon=0.0
        )
        tally.add(decision.outcomes, fixed, at=NOON, source="live")
    found = tallied(tally)
    assert sum(found.values()) == 4
    assert {key[2] for key in found} == {1, 2, 3}


def test_many_decisions_of_many_rows_count_exactly() -> None:
    rng = np.random.default_rng(1)
    planes, expected = Planes(), np.zeros(1_000, np.int64)
    for _ in range(700):
        flags = rng.random(1_000) < 0.4
        planes.add([int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")])
        expected += flags
    assert (planes.counts(1_000) == expected).all()
