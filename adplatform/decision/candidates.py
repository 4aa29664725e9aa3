"""The fixed candidate list of a snapshot, with everything about it that can be prepared once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import overload

import numpy as np

from .bidding import CONVERSION_STRATEGIES, needed_micros, pace_limit
from .bitmaps import EligibilityIndex
from .columns import Columns
from .postings import RowsBy
from .types import BidStrategy, BoolArray, Candidate, DecisionError, FloatArray, IntArray

KEPT = 4_096  # candidates that were asked for lately, as objects


class CandidateSet(Sequence[Candidate]):
    """Candidates in a fixed order, as columns and bitmaps. Immutable; a new snapshot makes a new one.

    From a list, or from columns that a snapshot's files hold; then `fixed[row]` makes the `Candidate` when it is asked
    for. `remaining_micros` and `pace` are the snapshot's own values: a server that holds leases passes its
    live column (in this order) to `decide` instead.
    """

    def __init__(
        self, candidates: Sequence[Candidate] | Columns, eligibility: EligibilityIndex | None = None
    ) -> None:
        columns = candidates if isinstance(candidates, Columns) else Columns.of(candidates)
        self.columns, numbers = columns, columns.numbers
        self.creative_id: IntArray = numbers["creative_id"]
        self.line_item_id: IntArray = numbers["line_item_id"]
        self.campaign_id: IntArray = numbers["campaign_id"]
        self.advertiser_id: IntArray = numbers["advertiser_id"]
        self.eligibility = eligibility or EligibilityIndex(columns)
        if len(self.eligibility.rows_by["creative_id"]) < len(columns):
            raise DecisionError("A creative may stand only once in a candidate list.")
        self.remaining_micros: IntArray = numbers["remaining_micros"]
        self.pace: FloatArray = numbers["pace"]
        self.impressions = numbers["impressions"].astype(np.float64)
        self.pcvr: FloatArray = numbers["pcvr"]
        strategy = columns.coded["bid_strategy"]
        wants_roas = strategy.of_rows(lambda one: one is BidStrategy.TARGET_ROAS)
        worth_by_roas = numbers["value_micros"] * 10_000 / np.maximum(numbers["target_roas_bp"], 1)
        self.unit_micros: FloatArray = np.where(wants_roas, worth_by_roas, numbers["bid_micros"])
        limits = np.array([pace_limit(one) for one in strategy.values], np.float64)
        self.pace_limit: FloatArray = limits[strategy.codes]
        self.pays_per_click: BoolArray = strategy.of_rows(lambda one: one.price_kind == "cpc")
        self.wants_conversions: BoolArray = strategy.of_rows(lambda one: one in CONVERSION_STRATEGIES)
        self.needed_micros: IntArray = needed_micros(self, self.pace)
        self._candidate = lru_cache(maxsize=KEPT)(columns.candidate)

    @overload
    def __getitem__(self, row: int) -> Candidate: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, row: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(row, slice):
            return [self._candidate(one) for one in range(*row.indices(len(self)))]
        return self._candidate(row)

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.columns)

    def rows_by(self, name: str) -> RowsBy:
        """Rows by an id such as 'campaign_id': where a lease's budget goes in a live column."""
        return self.eligibility.rows_by[name]

    def row_of(self, creative_id: int) -> int | None:
        """Where a creative stands, None where it does not."""
        return self.eligibility.rows_by["creative_id"].first(creative_id)
