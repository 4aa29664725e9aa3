"""One decision: who wins, what it owes, what is recorded, and what must never change it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adplatform.decision.auction import AUCTIONS
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.eligibility import rejection
from adplatform.decision.engine import decide
from adplatform.decision.types import (
    AdRequest,
    BidStrategy,
    Candidate,
    Cap,
    CapScope,
    Decision,
    DecisionError,
    NoAd,
    Placement,
    Seen,
    Taken,
)

from . import strategies as some
from .factories import TableScorer, candidate, request, slot

CPC = BidStrategy.MANUAL_CPC


def decided(candidates: list[Candidate], ask: AdRequest | None = None, **settings: object) -> Decision:
    settings = {"seen": Seen(), "scorer": TableScorer(), "rng": Random(1), "epsilon": 0.0} | settings
    return decide(request=ask or request(), candidates=candidates, **settings)


def test_the_winner_pays_the_runner_up() -> None:
    decision = decided([candidate(1, bid_micros=1_500_000), candidate(2, bid_micros=1_200_500)])
    (pick,) = decision.picks
    assert (pick.row, pick.runner_up_row) == (0, 1)
    assert (pick.bid_micros, pick.price_micros, pick.runner_up_micros) == (1_500_000, 1_200_500, 1_200_500)
    assert (pick.price_kind, pick.charge_micros, pick.most_micros) == ("cpm", 1_201, 1_500)
    assert pick.propensity == 1
    assert decision.reasons == Counter({NoAd.OUTBID: 1})


def test_a_click_bid_wins_by_its_expected_worth_and_pays_per_click() -> None:
    # 0.40 a click at 2 % is worth 8.00 for 1,000 impressions; the rival bids 5.00 CPM: 0.25 a click.
    decision = decided(
        [candidate(1, bid_strategy=CPC, bid_micros=400_000), candidate(2, bid_micros=5_000_000)],
        scorer=TableScorer({1: (0.02, 0.0)}),
    )
    (pick,) = decision.picks
    assert (pick.candidate.creative_id, pick.bid_micros, pick.price_micros) == (1, 8_000_000, 5_000_000)
    assert (pick.price_kind, pick.charge_micros, pick.most_micros) == ("cpc", 250_000, 400_000)


def test_alone_a_winner_pays_the_floor() -> None:
    (pick,) = decided([candidate(1)], request(slot(floor_micros=300_000))).picks
    assert (pick.price_micros, pick.charge_micros, pick.floor_micros) == (300_000, 300, 300_000)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bid_micros": 299_999}, NoAd.BELOW_FLOOR),
        ({"pace": 0.29}, NoAd.PACED_OUT),
        ({"pace": 0.0}, NoAd.PACED_OUT),
        ({"remaining_micros": 999}, NoAd.BUDGET_SPENT),  # an impression may cost 1,000
        ({"is_running": False}, NoAd.PAUSED),
        ({"bid_strategy": CPC}, None),
    ],
)
def test_an_empty_placement_says_why(changes: dict[str, object], reason: NoAd | None) -> None:
    decision = decided([candidate(1, **changes)], request(slot(floor_micros=300_000)))
    assert decision.outcomes[0].no_ad is reason
    assert decision.reasons == (Counter({reason: 1}) if reason else Counter())


def test_an_empty_placement_reports_who_came_closest() -> None:
    decision = decided([candidate(1, width=1), candidate(2, width=1), candidate(3, is_approved=False)])
    assert decision.outcomes[0].no_ad is NoAd.NOT_APPROVED
    assert decision.reasons == Counter({NoAd.WRONG_FORMAT: 2, NoAd.NOT_APPROVED: 1})


def test_without_candidates_or_slot_there_is_a_reason_too() -> None:
    ask = replace(request(), placements=(Placement("a", slot()), Placement("b", None)))
    assert [o.no_ad for o in decided([], ask).outcomes] == [NoAd.NO_CANDIDATES, NoAd.UNKNOWN_SLOT]


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0, 1.0, -0.1])
def test_an_unusable_prediction_is_no_score(broken: float) -> None:
    decision = decided([candidate(1), candidate(2)], scorer=TableScorer({1: (broken, 0.0)}))
    assert decision.reasons == Counter({NoAd.NO_SCORE: 1})
    assert decision.picks[0].candidate.creative_id == 2


def test_only_those_that_promise_most_are_ranked() -> None:
    clicks = {"bid_strategy": BidStrategy.MANUAL_CPC}
    people = [candidate(id, bid_micros=1_000 * id, **clicks) for id in range(1, 6)]
    scorer = TableScorer({1: (0.5, 0.0), 2: (0.4, 0.0)})  # worth 0.5 and 0.8 a view, the others 0.03 to 0.05
    decision = decided(people, scorer=scorer, ranked=2)
    assert decision.picks[0].candidate.creative_id == 2
    assert decision.reasons == Counter({NoAd.NOT_RETRIEVED: 3, NoAd.OUTBID: 1})


def test_placements_share_no_creative_and_no_competitors() -> None:
    people = [
        candidate(1, bid_micros=5_000_000, category="cars"),
        candidate(2, bid_micros=4_000_000, category="cars"),
        candidate(3, bid_micros=3_000_000, category="golf"),
    ]
    decision = decided(people, request(slot(), slot(), slot()))
    assert [pick.candidate.creative_id for pick in decision.picks] == [1, 3]
    assert decision.outcomes[2].no_ad is NoAd.COMPETING_ADVERTISER


def test_several_ads_of_one_placement_keep_apart_too() -> None:
    people = [
        candidate(1, bid_micros=5_000_000, advertiser_id=1),
        candidate(2, bid_micros=4_000_000, advertiser_id=1),
        candidate(3, bid_micros=3_000_000, advertiser_id=1),
        candidate(4, bid_micros=2_000_000, caps=(Cap(CapScope.CAMPAIGN, 1, 60),), campaign_id=9),
        candidate(5, bid_micros=1_000_000, caps=(Cap(CapScope.CAMPAIGN, 1, 60),), campaign_id=9),
    ]
    decision = decided(people, request(slot(per_advertiser=2), count=5))
    assert [pick.candidate.creative_id for pick in decision.picks] == [1, 2, 4]
    assert decision.reasons == Counter({NoAd.ADVERTISER_LIMIT: 1, NoAd.FREQUENCY_CAP: 1})


def test_one_answer_cannot_spend_a_campaigns_budget_twice() -> None:
    # 1,500 pays for one impression at most 1,000, not for two.
    people = [candidate(id, campaign_id=7, advertiser_id=id, remaining_micros=1_500) for id in (1, 2)]
    decision = decided(people, request(slot(), slot()))
    assert [outcome.no_ad for outcome in decision.outcomes] == [None, NoAd.BUDGET_SPENT]


def test_live_columns_replace_the_snapshots() -> None:
    fixed = CandidateSet([candidate(1, bid_micros=2_000_000), candidate(2), candidate(3)])
    decision = decided(fixed, remaining_micros=np.array([0, 10**9, 10**9]), pace=np.array([1.0, 0.5, 0.8]))
    assert (decision.picks[0].candidate.creative_id, decision.picks[0].price_micros) == (3, 500_000)
    assert fixed.rows_by("campaign_id") == {1: [0], 2: [1], 3: [2]}


def test_a_creative_stands_once_in_a_list() -> None:
    with pytest.raises(DecisionError):
        CandidateSet([candidate(1), candidate(1)])


def test_a_decision_names_its_models_and_another_model_changes_the_winner() -> None:
    people = [candidate(id, bid_strategy=CPC, bid_micros=500_000) for id in (1, 2)]
    ask = request(explain=True)
    first = decided(people, ask, scorer=TableScorer({1: (0.03, 0.0)}, "model-a"))
    second = decided(people, ask, scorer=TableScorer({2: (0.03, 0.0)}, "model-b"))
    for decision, name, winner in ((first, "model-a", 1), (second, "model-b", 2)):
        assert decision.versions == {"matcher": name, "blender": name}
        assert decision.picks[0].candidate.creative_id == winner
        line = decision.table[0]
        assert (line.candidate.creative_id, line.position, line.pctr) == (winner, 1, 0.03)
        assert (line.bid_micros, line.sampled_micros, line.propensity) == (15_000_000, 15_000_000, 1.0)


def test_explain_shows_everybody_once_with_a_reason() -> None:
    people = [candidate(1), candidate(2, bid_micros=900_000), candidate(3, width=1)]
    table = decided(people, request(explain=True)).table
    assert [(line.candidate.creative_id, line.reason) for line in table] == [
        (1, None),
        (2, NoAd.OUTBID),
        (3, NoAd.WRONG_FORMAT),
    ]
    assert table[2].pctr is None
    assert decided(people).table == ()


def test_a_uniform_choice_pays_no_more_than_the_floor() -> None:
    people = [candidate(1, bid_micros=3_000_000), candidate(2, bid_micros=2_000_000)]
    ask = request(slot(floor_micros=100_000))
    for seed in range(20):
        (pick,) = decided(people, ask, rng=Random(seed), epsilon=1.0).picks
        assert (pick.explored, pick.price_micros, pick.propensity) == (True, 100_000, 0.5)


def test_ties_are_fair_over_decisions() -> None:
    people = [candidate(id) for id in (1, 2, 3, 4)]
    won = Counter(decided(people, rng=Random(s)).picks[0].candidate.creative_id for s in range(1_000))
    # Standard error of 250 is 14.
    assert all(abs(won[id] - 250) < 70 for id in (1, 2, 3, 4))


# -------------------------------------------------------------------------------- what always holds


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, object]:
    people = draw(some.candidate_lists(14))
    chance = draw(some.chances)
    table = {one.creative_id: (chance.uniform(0.001, 0.2), chance.choice((0.0, 0.5))) for one in people}
    return {
        "request": draw(some.requests),
        "candidates": people,
        "seen": draw(some.seens),
        "scorer": TableScorer(table),
        "auction": draw(st.sampled_from(sorted(AUCTIONS))),
        "epsilon": draw(st.sampled_from((0.0, 0.02, 0.5, 1.0))),
        "ranked": draw(st.sampled_from((3, 50))),
        "seed": draw(st.integers(0, 2**63 - 1)),
    }


@given(world=worlds())
def test_prices_lie_between_floor_and_bid_and_budgets_cover_them(world) -> None:
    decision = decide(rng=Random(0), **world)
    owed: Counter[int] = Counter()
    for outcome in decision.outcomes:
        for pick in outcome.picks:
            assert outcome.placement.slot.floor_micros <= pick.price_micros <= pick.bid_micros
            assert 0 <= pick.charge_micros <= pick.most_micros
            if pick.price_kind == "cpm":
                assert pick.charge_micros * 1000 <= pick.bid_micros
            owed[pick.candidate.campaign_id] += pick.most_micros
            assert owed[pick.candidate.campaign_id] <= pick.candidate.remaining_micros
            assert 0 < pick.propensity <= 1 + 1e-12


@given(world=worlds())
def test_everybody_is_shown_or_refused_for_one_reason_in_every_placement(world) -> None:
    decision = decide(rng=Random(0), **world)
    people = world["candidates"]
    for outcome in decision.outcomes:
        rows = [row for refused in outcome.refused for row in refused.row_numbers().tolist()]
        rows += [pick.row for pick in outcome.picks]
        assert sorted(rows) == list(range(len(people)))
        assert (outcome.no_ad is None) == bool(outcome.picks)
        assert len(outcome.picks) <= outcome.placement.count
    shown = sum(len(outcome.picks) for outcome in decision.outcomes)
    assert decision.reasons.total() + shown == len(people) * len(decision.outcomes)


@given(world=worlds())
def test_every_pick_was_eligible_when_it_was_made(world) -> None:
    taken = Taken()
    for outcome in decide(rng=Random(0), **world).outcomes:
        for pick in outcome.picks:
            verdict = rejection(
                world["request"], outcome.placement.slot, pick.candidate, world["seen"], taken
            )
            assert verdict is None
            taken = taken.plus(pick.candidate)


def named(picks, candidates) -> list:
    """Picks without row numbers, and their runners-up by id."""
    second = [
        None if one.runner_up_row is None else candidates[one.runner_up_row].creative_id for one in picks
    ]
    return [
        (replace(pick, row=0, runner_up_row=None), other) for pick, other in zip(picks, second, strict=True)
    ]


@given(world=worlds(), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_candidates_changes_nothing(world, shuffle) -> None:
    before = decide(rng=Random(0), **world)
    mixed_up = list(world["candidates"])
    shuffle.shuffle(mixed_up)
    after = decide(rng=Random(0), **(world | {"candidates": mixed_up}))
    assert named(before.picks, world["candidates"]) == named(after.picks, mixed_up)
    assert before.reasons == after.reasons
    assert [o.no_ad for o in before.outcomes] == [o.no_ad for o in after.outcomes]


@given(world=worlds(), rng_seed=st.integers(0, 2**32))
def test_a_logged_decision_replays_bit_for_bit(world, rng_seed: int) -> None:
    del world["seed"]
    logged = decide(rng=Random(rng_seed), **world)
    replayed = decide(rng=Random(rng_seed + 1), seed=logged.seed, **world)
    assert repr(replayed) == repr(logged)  # repr writes floats exactly
    assert replayed.picks == logged.picks


@given(world=worlds(), raised=st.integers(1, 3_000_000))
def test_raising_a_bid_never_loses_a_won_placement_and_never_changes_its_price_below_it(
    world, raised: int
) -> None:
    world = world | {"auction": "second_price"}
    ask = world["request"]
    world["request"] = replace(ask, placements=(replace(ask.placements[0], count=1),), explain=False)
    before = decide(rng=Random(0), **world)
    if not before.picks or before.picks[0].candidate.bid_strategy is BidStrategy.TARGET_ROAS:
        return
    won = before.picks[0]
    raise_it = {won.candidate.creative_id: raised}
    people = [
        replace(
            one,
            bid_micros=one.bid_micros + raise_it.get(one.creative_id, 0),
            # Only the bid changes: the budget follows, or it would refuse the higher charge.
            remaining_micros=one.remaining_micros + (10**12 if one.creative_id in raise_it else 0),
        )
        for one in world["candidates"]
    ]
    after = decide(rng=Random(0), **(world | {"candidates": people})).picks[0]
    assert after.candidate.creative_id == won.candidate.creative_id
    assert after.price_micros == pytest.approx(won.price_micros, abs=1)
    assert after.charge_micros - won.charge_micros in (0, 1)
    assert after.propensity >= won.propensity - 1e-12


@settings(max_examples=30)
@given(world=worlds())
def test_a_candidate_set_made_once_decides_like_the_list(world) -> None:
    made_once = world | {"candidates": CandidateSet(world["candidates"])}
    assert repr(decide(rng=Random(0), **made_once)) == repr(decide(rng=Random(0), **world))
