"""The fixed candidate list of a snapshot, with everything about it that can be prepared once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from .bidding import CONVERSION_STRATEGIES, needed_micros, pace_limit, unit_worth_micros
from .bitmaps import EligibilityIndex
from .types import BoolArray, Candidate, DecisionError, FloatArray, IntArray


class CandidateSet(Sequence[Candidate]):
    """Candidates in a fixed order, as columns and bitmaps. Immutable; a new snapshot makes a new one.

    `remaining_micros` and `pace` are the snapshot's own values: a server that holds leases passes its
    live column (in this order) to `decide` instead.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = tuple(candidates)
        self.eligibility = EligibilityIndex(self._candidates)
        self.creative_id = self._ints("creative_id")
        self.campaign_id = self._ints("campaign_id")
        if len(np.unique(self.creative_id)) < len(self._candidates):
            raise DecisionError("A creative may stand only once in a candidate list.")
        self.remaining_micros = self._ints("remaining_micros")
        self.pace = np.array([candidate.pace for candidate in self._candidates], np.float64)
        self.impressions = np.array([candidate.impressions for candidate in self._candidates], np.float64)
        self.pcvr = np.array([candidate.pcvr for candidate in self._candidates], np.float64)
        self.unit_micros: FloatArray = np.array(
            [unit_worth_micros(candidate) for candidate in self._candidates], np.float64
        )
        self.pace_limit: FloatArray = np.array(
            [pace_limit(candidate.bid_strategy) for candidate in self._candidates], np.float64
        )
        self.pays_per_click: BoolArray = np.array(
            [candidate.bid_strategy.price_kind == "cpc" for candidate in self._candidates], np.bool_
        )
        self.wants_conversions: BoolArray = np.array(
            [candidate.bid_strategy in CONVERSION_STRATEGIES for candidate in self._candidates], np.bool_
        )
        self.needed_micros: IntArray = needed_micros(self, self.pace)

    @overload
    def __getitem__(self, row: int) -> Candidate: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, row: int | slice) -> Candidate | Sequence[Candidate]:
        return self._candidates[row]

    def __len__(self) -> int:
        return len(self._candidates)

    def rows_by(self, name: str) -> dict[int, list[int]]:
        """Rows by an id such as 'campaign_id': where a lease's budget goes in a live column."""
        rows: dict[int, list[int]] = {}
        for row, candidate in enumerate(self._candidates):
            rows.setdefault(getattr(candidate, name), []).append(row)
        return rows

    def _ints(self, name: str) -> IntArray:
        return np.array([getattr(candidate, name) for candidate in self._candidates], np.int64)
