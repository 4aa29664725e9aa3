"""Who may answer: each rule refuses for its reason, and the bitmaps say exactly what the rules say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.bitmaps import EligibilityIndex, bits_of, rows_of
from adplatform.decision.eligibility import RULES, rejection
from adplatform.decision.reasons import REASONS, NoAd
from adplatform.decision.types import Cap, CapScope, Rule, Seen, Taken, Targeting

from . import strategies as some
from .factories import NOON, candidate, request, slot
from .verdicts import agree


def refused(
    changes: dict[str, object], *, at_slot: dict[str, object] | None = None, **ask: object
) -> NoAd | None:
    return rejection(
        request(**ask), slot(**(at_slot or {})), candidate(category="cars", **changes), Seen(), Taken()
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"width": 728}, NoAd.WRONG_FORMAT),
        ({"format": "native"}, NoAd.WRONG_FORMAT),
        ({"currency": "USD"}, NoAd.CURRENCY),
        ({"is_approved": False}, NoAd.NOT_APPROVED),
        ({"is_running": False}, NoAd.PAUSED),
        ({"start_at": NOON}, None),
        ({"start_at": NOON + timedelta(microseconds=1)}, NoAd.OUTSIDE_FLIGHT),
        ({"end_at": NOON}, NoAd.OUTSIDE_FLIGHT),
        ({"end_at": NOON + timedelta(microseconds=1)}, None),
        ({"remaining_micros": 1}, None),
        ({"remaining_micros": 0}, NoAd.BUDGET_SPENT),
        ({"targeting": Targeting(country=Rule(frozenset({"DE"})))}, NoAd.WRONG_COUNTRY),
        ({"targeting": Targeting(site=Rule(exclude=frozenset({1})))}, NoAd.EXCLUDED_SITE),
    ],
)
def test_a_candidate_is_refused_for_one_reason(changes: dict[str, object], reason: NoAd | None) -> None:
    assert refused(changes) is reason


@pytest.mark.parametrize(
    "block",
    [
        {"blocked_advertisers": frozenset({1})},
        {"blocked_categories": frozenset({"cars"})},
        {"blocked_domains": frozenset({"shop.example"})},
        {"blocked_attributes": frozenset({"video", "gambling"})},
        {"blocked_attributes": frozenset({"size:300x250"})},
        {"blocked_attributes": frozenset({"format:banner"})},
        {"blocked_attributes": frozenset({"language:de"})},
    ],
)
def test_a_publisher_blocks_advertisers_categories_domains_and_attributes(block: dict[str, object]) -> None:
    ad = {"landing_domain": "shop.example", "attributes": frozenset({"video"}), "language": "de"}
    assert refused(ad, at_slot=block) is NoAd.BLOCKED_BY_PUBLISHER
    assert refused(ad, at_slot={name: frozenset() for name in block}) is None


def test_native_creatives_fit_native_slots_of_any_size() -> None:
    assert refused({"format": "native", "width": 1, "height": 2}, at_slot={"format": "native"}) is None


def test_every_reason_has_a_sentence_and_every_rule_a_reason() -> None:
    assert set(REASONS) == set(NoAd)
    assert all(text.endswith(".") and "\n" not in text for text in REASONS.values())
    reasons = [reason for reason, _ in RULES]
    assert len(set(reasons)) == len(reasons)
    assert reasons == sorted(reasons, key=list(NoAd).index)  # NoAd's order is the order of checking


@pytest.mark.parametrize("scope", CapScope)
def test_a_cap_refuses_at_its_limit_and_only_in_its_window(scope: CapScope) -> None:
    capped = candidate(7, caps=(Cap(scope, 3, 86_400),))

    def verdict(count: int, window_seconds: int = 86_400, id: int = 7) -> NoAd | None:
        seen = Seen({(str(scope), id, window_seconds): count})
        return rejection(request(), slot(), capped, seen, Taken())

    assert [verdict(n) for n in (0, 2, 3, 4)] == [None, None, NoAd.FREQUENCY_CAP, NoAd.FREQUENCY_CAP]
    assert verdict(9, window_seconds=3_600) is None
    assert verdict(9, id=8) is None


def test_what_stands_in_the_answer_counts_for_the_cap() -> None:
    capped = candidate(1, caps=(Cap(CapScope.CAMPAIGN, 2, 3_600),))
    sibling = candidate(2, campaign_id=1, advertiser_id=1)
    seen = Seen({("campaign", 1, 3_600): 1})
    assert rejection(request(), slot(), capped, seen, Taken()) is None
    assert rejection(request(), slot(), capped, seen, Taken((sibling,))) is NoAd.FREQUENCY_CAP


def test_competitors_are_kept_apart_and_an_advertiser_has_a_limit() -> None:
    shown = candidate(1, category="cars")
    taken = Taken((shown,))

    def verdict(other: object, taken: Taken = taken, **rights: object) -> NoAd | None:
        return rejection(request(), slot(**{"per_advertiser": 2} | rights), other, Seen(), taken)

    assert verdict(shown) is NoAd.CREATIVE_ALREADY_SHOWN
    assert verdict(candidate(2, category="cars")) is NoAd.COMPETING_ADVERTISER
    assert verdict(candidate(2, category="")) is None
    assert verdict(candidate(2, category="golf")) is None
    assert verdict(candidate(2, category="cars", advertiser_id=1)) is None
    two = taken.plus(candidate(3, category="cars", advertiser_id=1))
    assert verdict(candidate(2, category="cars", advertiser_id=1), two) is NoAd.ADVERTISER_LIMIT
    assert verdict(candidate(2, advertiser_id=1), per_advertiser=1) is NoAd.ADVERTISER_LIMIT
    assert verdict(candidate(2, category="cars"), separates_categories=False) is None
    named = {"separates_categories": False, "rivals": frozenset({(1, 2), (2, 1)})}
    assert verdict(candidate(2), **named) is NoAd.COMPETING_ADVERTISER
    assert verdict(candidate(3), **named) is None


def test_rare_and_common_values_are_found_alike() -> None:
    # Past 64 candidates an index stores rare values as rows and common ones as bitmaps.
    many = [candidate(id, currency="EUR" if id % 300 else "USD") for id in range(1, 1_001)]
    index = EligibilityIndex(many)
    for currency in ("EUR", "USD", "GBP"):
        bits, _ = index.eligible(request(), slot(currency=currency), Seen(), Taken())
        wanted = [row for row, one in enumerate(many) if one.currency == currency]
        assert rows_of(bits, len(many)).tolist() == wanted


@given(flags=st.lists(st.booleans(), max_size=200))
def test_bitmaps_and_rows_are_two_forms_of_one_set(flags: list[bool]) -> None:
    assert rows_of(bits_of(np.array(flags, np.bool_)), len(flags)).tolist() == [
        row for row, flag in enumerate(flags) if flag
    ]


@given(
    people=some.candidate_lists(20),
    ask=some.requests,
    seen=some.seens,
    shown=st.lists(st.integers(1, 20), max_size=3),
    later=some.moments,
)
def test_the_bitmaps_refuse_whom_the_rules_refuse_and_for_the_same_reason(
    people, ask, seen, shown, later
) -> None:
    agree(EligibilityIndex(people), people, ask=ask, seen=seen, shown=shown, later=later)


@given(people=some.candidate_lists(), ask=some.requests, seen=some.seens, gone=st.sampled_from(RULES))
def test_removing_a_rule_only_adds_candidates(people, ask, seen, gone) -> None:
    fewer = tuple(rule for rule in RULES if rule is not gone)
    for one in people:
        before = rejection(ask, ask.placements[0].slot, one, seen, Taken())
        after = rejection(ask, ask.placements[0].slot, one, seen, Taken(), rules=fewer)
        if before is None:
            assert after is None
        elif before is not gone[0]:
            assert after is before


def test_flight_times_are_moments_not_days() -> None:
    berlin_new_year = datetime(2025, 12, 31, 23, 0, tzinfo=UTC)
    flight = {"start_at": berlin_new_year, "end_at": berlin_new_year + timedelta(days=1)}
    index = EligibilityIndex([candidate(**flight)])
    for at, open in [
        (berlin_new_year - timedelta(seconds=1), False),
        (berlin_new_year, True),
        (berlin_new_year + timedelta(days=1, seconds=-1), True),
        (berlin_new_year + timedelta(days=1), False),
    ]:
        bits, _ = index.eligible(request(at=at), slot(), Seen(), Taken())
        assert bool(bits) is open
