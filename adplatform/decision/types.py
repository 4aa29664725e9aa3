"""The nouns of one ad decision: what is asked, who may answer, what was decided and why.

Everything here is immutable data. Money is integer micros (1e-6 of the currency), times are UTC,
probabilities are calibrated floats. `CPM`, `eCPM`: per 1,000 impressions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

# The reasons belong to this vocabulary: they may be imported from here.
from .reasons import REASONS as REASONS  # noqa: PLC0414
from .reasons import NoAd as NoAd  # noqa: PLC0414

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ALL_HOURS = (1 << 168) - 1
DEVICES = ("desktop", "mobile", "tablet", "unknown")


class DecisionError(ValueError):
    """Root of what this package raises for data that cannot be decided on."""


class BidStrategy(StrEnum):
    """How a line item wants to spend; it also fixes the unit of `Candidate.bid_micros`."""

    MANUAL_CPM = "manual_cpm"  # bid_micros: most for 1,000 impressions
    MANUAL_CPC = "manual_cpc"  # bid_micros: most for a click
    MAXIMISE_CLICKS = "maximise_clicks"  # bid_micros: most for a click; pacing bids below it
    MAXIMISE_CONVERSIONS = "maximise_conversions"  # bid_micros: what a conversion is worth before pacing
    TARGET_CPA = "target_cpa"  # bid_micros: wanted mean cost of a conversion
    TARGET_ROAS = "target_roas"  # target_roas_bp and value_micros; bid_micros is not read

    @property
    def is_hard_maximum(self) -> bool:
        """Bids that promise a most to the advertiser: pacing may lower them, never raise them."""
        return self in (BidStrategy.MANUAL_CPM, BidStrategy.MANUAL_CPC, BidStrategy.MAXIMISE_CLICKS)

    @property
    def price_kind(self) -> str:
        """The billable event: 'cpm' pays for impressions, 'cpc' for clicks."""
        return "cpm" if self is BidStrategy.MANUAL_CPM else "cpc"


# ---------------------------------------------------------------------------------------------- asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A publisher's ad slot and the publisher's rights in it. `floor_micros` is a CPM, `floors` say others (see `floors`);
    `blocked_*` are block rules, `per_advertiser` the most ads of one advertiser in an answer, `rivals` advertisers
    that never stand together (both ways), `variety` a weight from 0 to 1 (see `variety`)."""

    id: int
    public_id: str
    site_id: int
    publisher_id: int
    format: str  # 'banner' or 'native'
    width: int = 0
    height: int = 0
    floor_micros: int = 0
    currency: str = "EUR"
    domain: str = ""
    categories: frozenset[str] = frozenset()
    position: int = 1
    time_zone: str = "UTC"
    blocked_advertisers: frozenset[int] = frozenset()
    blocked_categories: frozenset[str] = frozenset()
    blocked_domains: frozenset[str] = frozenset()
    blocked_attributes: frozenset[str] = frozenset()
    floors: tuple[tuple[str, str, int], ...] = ()
    per_advertiser: int = 1
    separates_categories: bool = True
    rivals: frozenset[tuple[int, int]] = frozenset()
    variety: float = 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    """One place of the page to fill with up to `count` ads; `slot` is None where the name is unknown."""

    id: str
    slot: Slot | None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AdRequest:
    """What a page asks. `visitor` is a keyed pseudonym; None (no consent) means contextual only."""

    request_id: str
    at: datetime
    placements: tuple[Placement, ...]
    visitor: str | None = None
    url: str = ""
    keywords: tuple[str, ...] = ()
    language: str = ""
    country: str = ""
    region: str = ""
    device: str = "unknown"
    segments: frozenset[int] = frozenset()
    test: bool = False
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Values wanted and refused. An empty `include` wants everything; `exclude` always wins."""

    include: frozenset[Any] = frozenset()
    exclude: frozenset[Any] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Targeting:
    """A line item's rules. `daypart` has bit weekday·24 + hour (Monday 0) of the campaign's own zone."""

    country: Rule = Rule()
    region: Rule = Rule()
    language: Rule = Rule()
    device: Rule = Rule()
    site: Rule = Rule()
    category: Rule = Rule()
    keyword: Rule = Rule()
    segment: Rule = Rule()
    daypart: int = ALL_HOURS


class CapScope(StrEnum):
    """Whose impressions a frequency cap counts."""

    CREATIVE = "creative"
    LINE_ITEM = "line_item"
    CAMPAIGN = "campaign"
    ADVERTISER = "advertiser"


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` impressions of one visitor within `window_seconds`, counted over `scope`."""

    scope: CapScope
    limit: int
    window_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A creative with all that its line item and campaign say about it, as the snapshot holds it.

    `pace` multiplies the bid: in [0, 1] for manual bids, up to 3 for automatic ones.
    `remaining_micros` is what this server may still spend for it now.
    `category` separates competitors ('' competes with nobody). `attributes` are what publishers may block beside it
    (see `eligibility.attributes_of`). `impressions` and `clicks` are the
    creative's own counts, for the uncertainty of its prediction.
    """

    creative_id: int
    line_item_id: int
    campaign_id: int
    advertiser_id: int
    creative_public_id: str = ""
    line_item_public_id: str = ""
    campaign_public_id: str = ""
    advertiser_public_id: str = ""
    format: str = "banner"
    width: int = 0
    height: int = 0
    currency: str = "EUR"
    language: str = ""
    category: str = ""
    attributes: frozenset[str] = frozenset()
    landing_domain: str = ""
    targeting: Targeting = Targeting()
    bid_strategy: BidStrategy = BidStrategy.MANUAL_CPM
    bid_micros: int = 0
    target_roas_bp: int = 10_000
    value_micros: int = 0
    pcvr: float = 0.0
    pace: float = 1.0
    remaining_micros: int = 0
    start_at: datetime | None = None
    end_at: datetime | None = None
    is_approved: bool = True
    is_running: bool = True
    caps: tuple[Cap, ...] = ()
    time_zone: str = "UTC"
    impressions: int = 0
    clicks: int = 0

    def id_in(self, scope: str) -> int:
        """Its id at the level that a frequency cap counts."""
        return int(getattr(self, f"{scope}_id"))


@dataclass(frozen=True, slots=True)
class Seen:
    """Impressions that the visitor already had, by (scope, id, window_seconds), and what the visitor asked to hide.

    Without a visitor it stays empty: nothing is known, so nothing refuses.
    """

    counts: Mapping[tuple[str, int, int], int] = field(default_factory=dict)
    hidden_line_items: frozenset[int] = frozenset()
    hidden_advertisers: frozenset[int] = frozenset()

    def count(self, scope: str, id: int, window_seconds: int) -> int:
        return self.counts.get((scope, id, window_seconds), 0)


@dataclass(frozen=True, slots=True)
class Taken:
    """What this answer already shows."""

    candidates: tuple[Candidate, ...] = ()

    def count(self, scope: str, id: int) -> int:
        return sum(candidate.id_in(scope) == id for candidate in self.candidates)

    def plus(self, candidate: Candidate) -> Taken:
        return Taken((*self.candidates, candidate))


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of the snapshot's fixed candidate list. Scorers keep their matrices in the order of that list
    and read them at `rows`."""

    fixed: Sequence[Candidate]
    rows: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Candidate:
        return self.fixed[int(self.rows[position])]

    def __iter__(self) -> Iterator[Candidate]:
        return (self.fixed[row] for row in self.rows.tolist())

    def take(self, positions: IntArray) -> Candidates:
        return Candidates(self.fixed, self.rows[positions])


@dataclass(frozen=True, slots=True)
class Scores:
    """One number per scored candidate: `text` (uᵀWv, NaN where it was dropped), calibrated `pctr` and
    `pcvr` (conversion given a click), `sd` of logit(pctr) that exploration draws from, and how often the
    creative was shown by now (None: as often as the candidate set says)."""

    text: FloatArray
    pctr: FloatArray
    pcvr: FloatArray
    sd: FloatArray
    impressions: FloatArray | None = None


class Scorer(Protocol):
    """The models behind a decision. Both methods answer about the candidates they are given, in order."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Names of the models in use, such as {'matcher': …, 'blender': …}."""
        ...

    def standing(self, fixed: Sequence[Candidate]) -> FloatArray:
        """Rough log odds of a click of every ad of the list, apart from any request and up to a constant."""
        ...

    def lift(self, request: AdRequest, slot: Slot, candidates: Candidates) -> FloatArray:
        """What the request adds to the standing of these ads. Who is ranked, and then scored, follows from both."""
        ...

    def topic_lifts(self, slot: Slot) -> FloatArray | None:
        """Roughly what the request adds to the ads of each topic of a shortlist; None where it knows of no topics."""
        ...

    def score(self, request: AdRequest, slot: Slot, candidates: Candidates) -> Scores: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """A candidate's offer for one impression: expected worth per 1,000 impressions (after pacing),
    and the most it pays for one billable event of `price_kind`."""

    ecpm_micros: int
    most_micros: int
    price_kind: str


@dataclass(frozen=True, slots=True)
class ChoiceSet:
    """Who could be chosen when an ad was, by position: snapshot rows, worth (micros, per click or per 1,000), the
    mean prediction and the deviation that was explored with, and the propensity. `seed` replays the choice. `factor`:
    by how much each worth counts, None where all count as they are; `variety`: what `variety` has in it."""

    rows: IntArray
    worth: FloatArray
    pctr: FloatArray
    sd: FloatArray
    propensity: FloatArray
    seed: int
    factor: FloatArray | None = None
    variety: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A shown ad. `bid_micros`, `price_micros`, `floor_micros`, `runner_up_micros` are eCPM at the mean
    prediction; `charge_micros` is owed for one billable event (impression for 'cpm', click for 'cpc').
    `propensity` is the probability with which it was chosen given what stood before it, `factor` by how much operator's
    rules let its worth count in that choice."""

    candidate: Candidate
    row: int
    bid_micros: int
    price_micros: int
    price_kind: str
    charge_micros: int
    most_micros: int
    floor_micros: int
    pctr: float
    pcvr: float
    text: float
    propensity: float
    explored: bool
    runner_up_row: int | None
    runner_up_micros: int
    factor: float
    among: ChoiceSet = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Snapshot rows refused for one reason: a bitmap from the static rules, or row numbers after them."""

    reason: NoAd
    count: int
    bits: int = 0
    rows: IntArray | None = None

    def row_numbers(self) -> IntArray:
        if self.rows is not None:
            return self.rows
        raw = np.frombuffer(self.bits.to_bytes((self.bits.bit_length() + 7) // 8, "little"), np.uint8)
        return np.flatnonzero(np.unpackbits(raw, bitorder="little"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One line of `explain`: a candidate and how far it came. `position` is where it stands, if it does."""

    placement_id: str
    position: int | None
    candidate: Candidate
    reason: NoAd | None
    text: float | None = None
    pctr: float | None = None
    pcvr: float | None = None
    bid_micros: int | None = None
    sampled_micros: int | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Whom the models scored for one placement: snapshot rows, their scores, and what each offered (eCPM, micros)."""

    rows: IntArray
    scores: Scores
    ecpm: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one placement got: its picks in order, or none and `no_ad` says why."""

    placement: Placement
    picks: tuple[Pick, ...]
    no_ad: NoAd | None
    refused: tuple[Refused, ...]
    ranking: Ranking | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one ad request, with all that is needed to explain, bill, learn from and replay it."""

    request_id: str
    at: datetime
    outcomes: tuple[Outcome, ...]
    reasons: Counter[NoAd]
    versions: Mapping[str, str]
    seed: int
    auction: str
    epsilon: float
    table: tuple[TableRow, ...] = ()

    @property
    def picks(self) -> tuple[Pick, ...]:
        return tuple(pick for outcome in self.outcomes for pick in outcome.picks)
