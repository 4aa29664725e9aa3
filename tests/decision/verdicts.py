"""What bitmaps must agree with: the rules, asked of one candidate after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from adplatform.decision.bitmaps import EligibilityIndex, rows_of
from adplatform.decision.eligibility import rejection
from adplatform.decision.reasons import NoAd
from adplatform.decision.types import AdRequest, Candidate, Seen, Taken


def agree(
    index: EligibilityIndex,
    people: Sequence[Candidate],
    *,
    ask: AdRequest,
    seen: Seen,
    shown: Sequence[int],
    later: datetime,
) -> None:
    """Assert that every candidate is refused by both, or by neither, and for the same reason."""
    taken = Taken(tuple(one for one in people if one.creative_id in shown))
    for asked in (ask, replace(ask, at=later), ask):  # the index keeps its last answers: they must not stick
        for placement in asked.placements:
            expected = [rejection(asked, placement.slot, one, seen, taken) for one in people]
            bits, refusals = index.eligible(asked, placement.slot, seen, taken)
            found: list[NoAd | None] = [None] * len(people)
            for entry in refusals:
                assert entry.count == len(entry.row_numbers())
                for row in entry.row_numbers():
                    assert found[row] is None
                    found[row] = entry.reason
            # Budgets are live and checked by the engine, last of all.
            assert found == [None if reason is NoAd.BUDGET_SPENT else reason for reason in expected]
            assert rows_of(bits, len(people)).tolist() == [r for r, reason in enumerate(found) if not reason]
