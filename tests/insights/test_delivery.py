"""The delivery funnel: shares that add up exactly, and what to do about the largest obstacle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision.tally import OUTCOMES
from adplatform.insights import delivery
from adplatform.insights.delivery_words import ADVICE, SHORT

FUNNEL = {"won": 380, "budget_spent": 379, "outbid": 131, "frequency_cap": 110}


@given(st.lists(st.integers(0, 10**9), max_size=30))
def test_shares_add_up_exactly_and_are_off_by_less_than_one(counts) -> None:
    shares = delivery.shares_bp(counts)
    total = sum(counts)
    assert sum(shares) == (10_000 if total else 0)
    assert all(
        abs(share * total - n * 10_000) < total for share, n in zip(shares, counts, strict=True) if total
    )


def test_won_comes_first_and_the_largest_obstacle_next() -> None:
    found = delivery.Funnel(FUNNEL)
    assert [(part.outcome, part.opportunities, part.share_bp) for part in found.parts] == [
        ("won", 380, 3_800),
        ("budget_spent", 379, 3_790),
        ("outbid", 131, 1_310),
        ("frequency_cap", 110, 1_100),
    ]
    told = delivery.advice(found)
    assert told is not None
    assert told.text == "Raise the budget, or lower the bid so that it lasts longer."
    assert delivery.advice(delivery.Funnel({"won": 5})) is None


def test_every_outcome_of_a_line_item_has_words() -> None:
    whole_request = {"unknown_slot", "no_candidates", "wrong_format", "currency"}
    assert set(SHORT) == set(OUTCOMES) - whole_request
    assert set(ADVICE) == set(SHORT) - {"won"}
    assert delivery.short_words("from_the_future") == "From the future"


def test_the_figure_has_the_shares_of_the_table() -> None:
    figure = delivery.funnel_figure(delivery.Funnel(FUNNEL))
    bars = {y: x for trace in figure["data"] for y, x in zip(trace["y"], trace["x"], strict=True)}
    assert bars == {"Won": 0.38, "Budget spent": 0.379, "Outbid": 0.131, "Frequency cap": 0.11}
    assert figure["layout"]["yaxis"]["categoryarray"][-1] == "Won"
