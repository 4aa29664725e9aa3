"""What an operator rules: who is kept out and why, whose worth counts how much, and what no rule may ever do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.candidates import CandidateSet
from adplatform.decision.engine import decide
from adplatform.decision.rules import OperatorRule, RuleAction, RuleIndex, factor_of, has_words, refusal
from adplatform.decision.types import Candidate, Decision, DecisionError, NoAd, Seen

from . import strategies as some
from .factories import NOON, TableScorer, candidate, request, slot

FORBID, LIMIT, MULTIPLY = RuleAction.FORBID, RuleAction.LIMIT, RuleAction.MULTIPLY


def rule(action: RuleAction = FORBID, id: int = 1, **fields: Any) -> OperatorRule:
    return OperatorRule(id=id, action=action, **fields)


def decided(
    candidates: Sequence[Candidate], *rules: OperatorRule, scorer: TableScorer | None = None, **options: Any
) -> Decision:
    fixed = CandidateSet(candidates)
    given = {"request": request(), "seen": Seen(), "epsilon": 0.0, "seed": 7} | options
    index = RuleIndex(rules, fixed) if rules else None
    return decide(candidates=fixed, scorer=scorer or TableScorer(), rng=Random(1), rules=index, **given)


# --- what a rule names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "is_kept_out"),
    [
        ({"advertiser_id": 1}, True),
        ({"advertiser_id": 2}, False),
        ({"categories": frozenset({"gambling"})}, True),
        ({"categories": frozenset({"sports"})}, False),
        ({"creatives": frozenset({1})}, True),
        ({"creatives": frozenset()}, False),
        ({"site_id": 1}, True),
        ({"site_id": 2}, False),
        ({"slot_id": 1}, True),
        ({"slot_id": 2}, False),
        ({"topics": frozenset({"family"})}, True),
        ({"topics": frozenset({"news"})}, False),
        ({"categories": frozenset({"gambling"}), "site_id": 2}, False),
        ({"start_at": NOON}, True),
        ({"start_at": NOON + timedelta(microseconds=1)}, False),
        ({"end_at": NOON}, False),
        ({"end_at": NOON + timedelta(microseconds=1)}, True),
    ],
)
def test_a_rule_holds_where_all_that_it_names_is_met(fields: dict[str, Any], is_kept_out: bool) -> None:
    place = slot(categories=frozenset({"Family"}))
    wanted = NoAd.RULE_FORBIDS if is_kept_out else None
    assert refusal([rule(**fields)], place, candidate(1, category=" Gambling"), NOON, 7) is wanted


def test_words_are_whole_words_in_any_case() -> None:
    assert has_words("Win BIG at our casino!", ["casino"])
    assert has_words("Win big at our casino", ["Win  Big"])
    assert not has_words("Casinos of the world", ["casino"])
    assert not has_words("Garden tools", [])


@pytest.mark.parametrize(
    "fields", [{"factor": 0.09}, {"factor": 3.01}, {"share_bp": 10_001}, {"share_bp": -1}]
)
def test_factors_and_shares_have_bounds(fields: dict[str, Any]) -> None:
    with pytest.raises(DecisionError):
        rule(MULTIPLY, **fields)


# --- what it does -----------------------------------------------------------------------------------------------------


def test_a_forbidden_ad_gives_way_to_the_next_and_is_counted() -> None:
    dear, cheap = candidate(1, bid_micros=2_000_000), candidate(2)
    made = decided([dear, cheap], rule(advertiser_id=1))
    assert [pick.candidate.creative_id for pick in made.picks] == [2]
    assert made.reasons[NoAd.RULE_FORBIDS] == 1
    alone = decided([dear], rule(advertiser_id=1))
    assert alone.outcomes[0].no_ad is NoAd.RULE_FORBIDS


def test_a_limit_keeps_its_share_of_the_decisions() -> None:
    ads = [candidate(1, bid_micros=2_000_000), candidate(2)]
    quarter = rule(LIMIT, share_bp=2_500, advertiser_id=1)
    kept_in = [seed for seed in range(2_000) if not quarter.keeps_out(seed)]
    assert 0.22 < len(kept_in) / 2_000 < 0.28
    never = decided(ads, rule(LIMIT, share_bp=0, advertiser_id=1))
    assert never.reasons[NoAd.RULE_LIMITS] == 1


def test_a_factor_lets_a_lower_bid_win_at_no_more_than_its_own_bid() -> None:
    boosted = decided(
        [candidate(1, bid_micros=900_000), candidate(2)], rule(MULTIPLY, factor=2.0, advertiser_id=1)
    )
    pick = boosted.picks[0]
    # 1.00 CPM of the other, in the winner's unit: half.
    assert (pick.candidate.creative_id, pick.price_micros, pick.bid_micros) == (1, 500_000, 900_000)
    assert (pick.factor, pick.among.factor is not None) == (2.0, True)


def test_a_factor_below_one_never_raises_the_price_of_who_still_wins() -> None:
    ads = [candidate(1, bid_micros=5_000_000), candidate(2)]
    # Weighed, the second would ask for 1.00 / 0.3; without the rule it asked for 1.00.
    lowered = decided(ads, rule(MULTIPLY, factor=0.3, advertiser_id=1))
    assert (lowered.picks[0].candidate.creative_id, lowered.picks[0].price_micros) == (1, 1_000_000)


def test_factors_multiply_within_the_bounds_of_one() -> None:
    rules = [rule(MULTIPLY, id=n, factor=2.5, advertiser_id=1) for n in (1, 2)]
    assert factor_of(rules, slot(), candidate(1), NOON) == 3.0
    assert factor_of(rules, slot(), candidate(2), NOON) == 1.0


def test_rules_that_name_no_candidate_cost_nothing() -> None:
    fixed = CandidateSet([candidate(1)])
    assert not RuleIndex([rule(advertiser_id=9)], fixed)
    assert RuleIndex([rule(advertiser_id=1)], fixed)


# --- what no rule may ever do -----------------------------------------------------------------------------------------


def some_rule(chance: Random, id: int) -> OperatorRule:
    return OperatorRule(
        id=id,
        action=chance.choice(list(RuleAction)),
        factor=chance.choice((0.1, 0.5, 2.0, 3.0)),
        share_bp=chance.choice((0, 5_000, 10_000)),
        advertiser_id=chance.choice((None, 1, 2)),
        categories=some.some_of(chance, some.CATEGORIES, 1),
        creatives=chance.choice((None, None, frozenset({1, 2, 3, 4}))),
        site_id=chance.choice((None, None, 1)),
        topics=some.some_of(chance, ("news", "sport"), 1) if chance.random() < 0.3 else frozenset(),
        start_at=some.moment(chance) if chance.random() < 0.2 else None,
    )


some_rules = st.builds(
    lambda chance, size: [some_rule(chance, id) for id in range(1, size + 1)], some.chances, st.integers(0, 4)
)
worlds = (some.requests, some.candidate_lists(), some.seens, some_rules, st.integers(0, 2**62))


@given(some.requests, some.candidate_lists(), some_rules, st.integers(0, 2**62))
def test_the_index_says_what_the_rules_say(asked: Any, candidates: Any, rules: Any, seed: int) -> None:
    fixed, place = CandidateSet(candidates), asked.placements[0].slot
    index, rows = RuleIndex(rules, fixed), np.arange(len(fixed))
    left, refused = fixed.eligibility.sieve(index.verdicts(place, asked.at, seed))
    verdicts = {row: one.reason for one in refused for row in one.row_numbers().tolist()}
    for row, one in enumerate(fixed):
        assert verdicts.get(row) is refusal(rules, place, one, asked.at, seed)
        assert bool(left >> row & 1) is (row not in verdicts)
    factors = index.factors(rows, place, asked.at)
    given = np.ones(len(rows)) if factors is None else factors
    assert given.tolist() == [factor_of(rules, place, one, asked.at) for one in fixed]


def run(world: Any, rules: Sequence[OperatorRule], **options: Any) -> Decision:
    asked, candidates, seen, seed = world
    fixed = CandidateSet(candidates)
    scorer = TableScorer({one.creative_id: (0.02 * one.creative_id, 0.4) for one in candidates})
    given = {"epsilon": 0.1, "exploration_budget": 0.3} | options
    return decide(
        request=asked,
        candidates=fixed,
        seen=seen,
        scorer=scorer,
        rng=Random(0),
        seed=seed,
        rules=RuleIndex(rules, fixed),
        **given,
    )


@given(*worlds)
def test_every_price_lies_between_floor_and_bid(
    asked: Any, ads: Any, seen: Any, rules: Any, seed: int
) -> None:
    for auction in ("second_price", "first_price", "vcg"):
        for pick in run((asked, ads, seen, seed), rules, auction=auction).picks:
            assert pick.floor_micros <= pick.price_micros + 1  # a price is rounded down to a whole micro
            assert pick.price_micros <= pick.bid_micros
            assert pick.charge_micros <= pick.most_micros


@given(*worlds)
def test_a_factor_never_changes_who_is_eligible(
    asked: Any, ads: Any, seen: Any, rules: Any, seed: int
) -> None:
    kept = [one for one in rules if one.action is not MULTIPLY]
    first = replace(asked, placements=asked.placements[:1])
    sets = [_first_choice_set(run((first, ads, seen, seed), chosen)) for chosen in (rules, kept)]
    assert sets[0] == sets[1]


@given(*worlds)
def test_taking_a_forbidding_rule_away_only_adds_candidates(
    asked: Any, ads: Any, seen: Any, rules: Any, seed: int
) -> None:
    first = replace(asked, placements=asked.placements[:1])
    before = _first_choice_set(run((first, ads, seen, seed), rules))
    for gone in rules:
        if gone.action is not MULTIPLY:
            assert before <= _first_choice_set(
                run((first, ads, seen, seed), [one for one in rules if one is not gone])
            )


@given(*worlds)
def test_no_rule_raises_what_an_ad_pays_that_is_chosen_without_it(
    asked: Any, ads: Any, seen: Any, rules: Any, seed: int
) -> None:
    """At the mean prediction, where both runs compare the same scores."""
    first = replace(asked, placements=(replace(asked.placements[0], count=1),))
    world, greedy = (first, ads, seen, seed), {"epsilon": 0.0, "exploration_budget": 0.0}
    for auction in ("second_price", "first_price", "vcg"):
        ruled = run(world, rules, auction=auction, **greedy).picks
        free = run(world, [], auction=auction, **greedy).picks
        if ruled and free and ruled[0].candidate is free[0].candidate:
            assert ruled[0].charge_micros <= free[0].charge_micros


@given(*worlds)
def test_the_propensities_of_a_choice_add_up_under_rules(
    asked: Any, ads: Any, seen: Any, rules: Any, seed: int
) -> None:
    for pick in run((asked, ads, seen, seed), rules).picks:
        assert pick.among.propensity.sum() == pytest.approx(1)
        assert pick.propensity > 0


def _first_choice_set(made: Decision) -> set[int]:
    """Rows that the first ad was chosen from."""
    return set(made.picks[0].among.rows.tolist()) if made.picks else set()
