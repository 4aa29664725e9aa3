"""What the platform's operator rules about ads in places, beside targeting and the blocks of publishers.

A rule names ads (an advertiser, categories, ads with certain words) and places (a site, a slot, topics). What it does
not name, it does not ask. It does one of three things:

    forbid      the ads do not take part there
    limit       they take part in at most this share of the decisions there, by chance that the decision's seed replays
    multiply    their worth counts this many times when ads are ranked, and nowhere else

A factor changes neither who is eligible nor what anybody can be charged at most: the floor is held against the bid
itself, and `pricing` asks for the lower of the prices with and without factors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np

from . import chance
from .bitmaps import bits_of
from .candidates import CandidateSet
from .targeting import word
from .types import BoolArray, Candidate, DecisionError, FloatArray, IntArray, NoAd, Slot

LEAST_FACTOR, MOST_FACTOR = 0.1, 3.0
WHOLE_BP = 10_000

_STREAM = -7  # of chance, apart from candidates' own (positive) and the other uses of a seed


class RuleAction(StrEnum):
    """What a rule does with the ads that it names."""

    FORBID = "forbid"
    LIMIT = "limit"
    MULTIPLY = "multiply"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRule:
    """One rule. Empty fields ask nothing; `creatives` None means any, otherwise those whose words were asked for.

    `share_bp` belongs to 'limit' (basis points of the decisions), `factor` to 'multiply'. Categories and topics are
    folded words, with all that the operator's category graph puts below or beside them.
    """

    id: int
    action: RuleAction
    share_bp: int = 0
    factor: float = 1.0
    advertiser_id: int | None = None
    categories: frozenset[str] = frozenset()
    creatives: frozenset[int] | None = None
    site_id: int | None = None
    slot_id: int | None = None
    topics: frozenset[str] = frozenset()
    start_at: datetime | None = None
    end_at: datetime | None = None

    def __post_init__(self) -> None:
        if not LEAST_FACTOR <= self.factor <= MOST_FACTOR:
            raise DecisionError(f"A factor lies between {LEAST_FACTOR} and {MOST_FACTOR}, not {self.factor}.")
        if not 0 <= self.share_bp <= WHOLE_BP:
            raise DecisionError(f"A share lies between 0 and {WHOLE_BP} basis points, not {self.share_bp}.")

    def covers(self, *, creative_id: int, advertiser_id: int, category: str) -> bool:
        """Whether it names this ad."""
        return (
            self.advertiser_id in (None, advertiser_id)
            and (not self.categories or folded(category) in self.categories)
            and (self.creatives is None or creative_id in self.creatives)
        )

    def holds(self, *, slot_id: int, site_id: int, topics: Iterable[str]) -> bool:
        """Whether it names this place."""
        return (
            self.slot_id in (None, slot_id)
            and self.site_id in (None, site_id)
            and (not self.topics or any(folded(topic) in self.topics for topic in topics))
        )

    def runs(self, at: datetime) -> bool:
        """Whether it is in force: from `start_at` on, before `end_at`."""
        return (self.start_at is None or self.start_at <= at) and (self.end_at is None or at < self.end_at)

    def keeps_out(self, seed: int) -> bool:
        """Whether its ads take no part in the placement with this seed."""
        if self.action is RuleAction.LIMIT:
            return chance.share(chance.mix(chance.mix(seed, _STREAM), self.id)) * WHOLE_BP >= self.share_bp
        return self.action is RuleAction.FORBID


REASON = {RuleAction.FORBID: NoAd.RULE_FORBIDS, RuleAction.LIMIT: NoAd.RULE_LIMITS}


def folded(name: str) -> str:
    """A category's name as rules compare it; '' where there is none."""
    return word(name) if name.strip() else ""


def has_words(text: str, words: Sequence[str]) -> bool:
    """Whether a text has one of the words (or phrases) as whole words; case does not matter."""
    return any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text.casefold()) for one in map(word, words))


def refusal(
    rules: Iterable[OperatorRule], slot: Slot, candidate: Candidate, at: datetime, seed: int
) -> NoAd | None:
    """The first rule, forbidding ones first, that keeps a candidate out of a placement: the definition of `RuleIndex`."""
    for action, reason in REASON.items():
        for rule in rules:
            if rule.action is action and _applies(rule, slot, candidate, at) and rule.keeps_out(seed):
                return reason
    return None


def factor_of(rules: Iterable[OperatorRule], slot: Slot, candidate: Candidate, at: datetime) -> float:
    """By how much a candidate's worth counts: the product of the factors, within the bounds of one."""
    product = 1.0
    for rule in rules:
        if rule.action is RuleAction.MULTIPLY and _applies(rule, slot, candidate, at):
            product *= rule.factor
    return min(max(product, LEAST_FACTOR), MOST_FACTOR)


def _applies(rule: OperatorRule, slot: Slot, candidate: Candidate, at: datetime) -> bool:
    return (
        rule.runs(at)
        and _in_place(rule, slot)
        and rule.covers(
            creative_id=candidate.creative_id,
            advertiser_id=candidate.advertiser_id,
            category=candidate.category,
        )
    )


def _in_place(rule: OperatorRule, slot: Slot) -> bool:
    return rule.holds(slot_id=slot.id, site_id=slot.site_id, topics=slot.categories)


class RuleIndex:
    """Rules over a fixed list of candidates: which ads each names is found once, where it holds at each request."""

    def __init__(self, rules: Iterable[OperatorRule], candidates: CandidateSet) -> None:
        named = [(rule, _covered(rule, candidates)) for rule in rules]
        named = [(rule, covered) for rule, covered in named if covered.any()]
        order = list(REASON)
        self._keeping = sorted(
            ((rule, bits_of(covered)) for rule, covered in named if rule.action in REASON),
            key=lambda pair: order.index(pair[0].action),
        )
        self._weighing = [(rule, covered) for rule, covered in named if rule.action is RuleAction.MULTIPLY]

    def __bool__(self) -> bool:
        return bool(self._keeping or self._weighing)

    def verdicts(self, slot: Slot, at: datetime, seed: int) -> list[tuple[NoAd, int]]:
        """Whom rules keep out of a placement, as bitmaps, forbidding rules first."""
        return [
            (REASON[rule.action], covered)
            for rule, covered in self._keeping
            if rule.runs(at) and _in_place(rule, slot) and rule.keeps_out(seed)
        ]

    def factors(self, rows: IntArray, slot: Slot, at: datetime) -> FloatArray | None:
        """By how much each row's worth counts; None where no factor holds here."""
        product: FloatArray | None = None
        for rule, covered in self._weighing:
            if rule.runs(at) and _in_place(rule, slot):
                own = np.where(covered[rows], rule.factor, 1.0)
                product = own if product is None else product * own
        return None if product is None else np.clip(product, LEAST_FACTOR, MOST_FACTOR)


def _covered(rule: OperatorRule, candidates: CandidateSet) -> BoolArray:
    """`covers`, of every row at once."""
    flags = np.ones(len(candidates), np.bool_)
    if rule.advertiser_id is not None:
        flags &= candidates.advertiser_id == rule.advertiser_id
    if rule.categories:
        flags &= candidates.columns.coded["category"].of_rows(lambda one: folded(one) in rule.categories)
    if rule.creatives is not None:
        flags &= np.isin(candidates.creative_id, np.fromiter(rule.creatives, np.int64))
    return flags
