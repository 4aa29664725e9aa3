"""One ad decision from beginning to end, and nothing else: no clock, no cache, no database.

For each placement in order: eligible → shortlisted → scored → bid × pace → explored → auctioned → recorded.
The seed drawn from `rng` is in the decision; given back as `seed` with the same data it replays bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from . import chance, floors, variety
from .auction import click_charge_micros, impression_charge_micros
from .bidding import Bids, bids_for, needed_micros, usable
from .bitmaps import bits_of, held_by, rows_of
from .candidates import CandidateSet
from .explanation import explained
from .exploration import Choice, choose, tapered, tie_ordered
from .pricing import price_micros
from .rules import RuleIndex
from .shortlist import Shortlist, base_value, chosen
from .types import (
    AdRequest,
    BoolArray,
    Candidate,
    Candidates,
    ChoiceSet,
    Decision,
    FloatArray,
    IntArray,
    NoAd,
    Outcome,
    Pick,
    Placement,
    Ranking,
    Refused,
    Scorer,
    Scores,
    Seen,
    Slot,
    TableRow,
    Taken,
)

_LATENESS = {reason: place for place, reason in enumerate(NoAd)}


def decide(
    *,
    request: AdRequest,
    candidates: CandidateSet | Sequence[Candidate],
    seen: Seen,
    scorer: Scorer,
    rng: Random,
    auction: str = "second_price",
    epsilon: float = 0.02,
    exploration_budget: float = 1.0,
    near_greedy: int = 0,
    ranked: int = 50,
    remaining_micros: IntArray | None = None,
    pace: FloatArray | None = None,
    rules: RuleIndex | None = None,
    shortlist: Shortlist | None = None,
    seed: int | None = None,
) -> Decision:
    """Which ads stand in the placements of a request, what they owe, and why the others do not.

    `exploration_budget`: share of an auction's expected worth that exploring may cost. `near_greedy`: impressions
    below which an ad explores with less than its uncertainty.
    `ranked`: how many of the eligible are scored. `remaining_micros`, `pace`: live values in the order of the candidate set instead of its own.
    `rules`: the operator's, over this candidate set. `shortlist`: of this set, so that the first stage looks at few.
    `seed`: of a logged decision, to replay it.
    """
    fixed = candidates if isinstance(candidates, CandidateSet) else CandidateSet(candidates)
    seed = rng.getrandbits(63) if seed is None else seed
    run = _Run(
        request=request,
        fixed=fixed,
        seen=seen,
        scorer=scorer,
        auction=auction,
        epsilon=epsilon,
        exploration_budget=exploration_budget,
        near_greedy=near_greedy,
        ranked=ranked,
        remaining_micros=fixed.remaining_micros if remaining_micros is None else remaining_micros,
        pace=fixed.pace if pace is None else pace,
        rules=rules,
        shortlist=shortlist,
        taken=Taken(),
        owed_micros=Counter(),
        table=[],
    )
    outcomes = tuple(
        run.fill(floors.placed(placement, request), chance.mix(seed, number))
        for number, placement in enumerate(request.placements)
    )
    reasons: Counter[NoAd] = Counter()
    for outcome in outcomes:
        for refused in outcome.refused:
            reasons[refused.reason] += refused.count
    return Decision(
        request_id=request.request_id,
        at=request.at,
        outcomes=outcomes,
        reasons=reasons,
        versions=dict(scorer.versions),
        seed=seed,
        auction=auction,
        epsilon=epsilon,
        table=tuple(run.table),
    )


@dataclass(slots=True)
class _Ranked:
    """The scored candidates of one placement, in tie order, and who of them is still in the running. `factor`: by how
    much rules and the wish for variety let each worth count, None where neither does; `variety` is its part of it."""

    rows: IntArray
    scores: Scores
    bids: Bids
    factor: FloatArray | None
    variety: FloatArray | None
    alive: BoolArray
    refused: list[Refused]
    sampled: FloatArray
    propensity: FloatArray

    def refuse(self, reason: NoAd, hit: BoolArray) -> None:
        out = self.alive & hit
        if out.any():
            self.alive &= ~hit
            self.refused.append(_refused(reason, self.rows[out]))


@dataclass(slots=True)
class _Run:
    """What the placements of one request share. `owed_micros`: most that this answer may cost, by campaign."""

    request: AdRequest
    fixed: CandidateSet
    seen: Seen
    scorer: Scorer
    auction: str
    epsilon: float
    exploration_budget: float
    near_greedy: int
    ranked: int
    remaining_micros: IntArray
    pace: FloatArray
    rules: RuleIndex | None
    shortlist: Shortlist | None
    taken: Taken
    owed_micros: Counter[int]
    table: list[TableRow]

    def fill(self, placement: Placement, seed: int) -> Outcome:
        """Up to `placement.count` ads, each chosen by an auction of its own among who is left."""
        if placement.slot is None:
            return Outcome(placement=placement, picks=(), no_ad=NoAd.UNKNOWN_SLOT, refused=())
        field = self.rank(placement.slot, seed)
        picks: list[Pick] = []
        while len(picks) < placement.count and field.alive.any():
            if picks:
                self.keep_apart(placement.slot, field)
            self.keep_solvent(field)
            if field.alive.any():
                places = placement.count - len(picks)
                picks.append(self.pick(placement.slot, field, chance.mix(seed, len(picks)), places))
        field.refuse(NoAd.OUTBID, field.alive)
        outcome = Outcome(
            placement=placement,
            picks=tuple(picks),
            no_ad=None if picks else _latest(field.refused),
            refused=tuple(field.refused),
            ranking=Ranking(field.rows, field.scores, field.bids.ecpm),
        )
        if self.request.explain:
            self.table += explained(
                outcome,
                self.fixed,
                rows=field.rows,
                scores=field.scores,
                bids=field.bids,
                sampled=field.sampled,
                propensity=field.propensity,
            )
        return outcome

    def rank(self, slot: Slot, seed: int) -> _Ranked:
        """Eligible, retrieved, scored, with a bid of at least the floor."""
        rows, refused = self.eligible(slot, seed)
        rows = tie_ordered(rows, self.fixed.creative_id, seed)
        scores = self.scorer.score(self.request, slot, Candidates(self.fixed, rows))
        least = max(slot.floor_micros, 1)
        bids = bids_for(self.fixed, rows, scores, self.pace, least)
        ruled = None if self.rules is None else self.rules.factors(rows, slot, self.request.at)
        varied = variety.factors(self.fixed, rows, slot.variety, self.seen)
        alive = np.ones(len(rows), np.bool_)
        nothing = np.zeros(len(rows))
        factor = variety.together(ruled, varied)
        field = _Ranked(rows, scores, bids, factor, varied, alive, refused, nothing.copy(), nothing)
        if bids.unfit:
            field.refuse(NoAd.NO_SCORE, ~usable(scores, bids))
            field.refuse(NoAd.BELOW_FLOOR, ~(bids.unpaced >= least))
            field.refuse(NoAd.PACED_OUT, ~(bids.ecpm >= least))
            field.refuse(NoAd.BELOW_FLOOR, bids.most < 1)
        return field

    def eligible(self, slot: Slot, seed: int) -> tuple[IntArray, list[Refused]]:
        """Rows that no rule refuses, at most `ranked` of them, and who was refused why."""
        fixed, index = self.fixed, self.fixed.eligibility
        verdicts = [*index.static(self.request, slot), *index.personal(slot, self.seen, self.taken)]
        if self.rules is not None:
            verdicts += self.rules.verdicts(slot, self.request.at, seed)
        needed = fixed.needed_micros if self.pace is fixed.pace else needed_micros(fixed, self.pace)
        verdicts.append((NoAd.BUDGET_SPENT, bits_of(self.remaining_micros < needed)))
        bits, refused = index.sieve(verdicts)
        count = bits.bit_count()
        if count <= self.ranked:
            return rows_of(bits, len(self.fixed)), refused
        rows = self.promising(bits, slot)
        flags = np.zeros(len(self.fixed), np.bool_)
        flags[rows] = True
        refused.append(Refused(NoAd.NOT_RETRIEVED, count - len(rows), bits & ~bits_of(flags)))
        return rows, refused

    def promising(self, eligible: int, slot: Slot) -> IntArray:
        """The `ranked` best of the eligible by the first stage (`shortlist`)."""
        fixed, shortlist = self.fixed, self.shortlist
        rows = (
            rows_of(eligible, len(fixed))
            if shortlist is None
            else shortlist.narrowed(eligible, self.ranked, self.scorer.topic_lifts(slot))
        )
        base = (
            base_value(fixed, rows, self.scorer.standing(fixed)[rows], self.pace)
            if shortlist is None
            else shortlist.base[rows]
        )
        lift = self.scorer.lift(self.request, slot, Candidates(fixed, rows))
        clicks = fixed.pays_per_click
        return chosen(rows, base + lift * clicks[rows], clicks, fixed.creative_id, self.ranked)

    def keep_apart(self, slot: Slot, field: _Ranked) -> None:
        """After a pick: no creative twice, competitors apart, caps counted with what stands already."""
        for reason, bits in self.fixed.eligibility.personal(slot, self.seen, self.taken):
            if bits:
                field.refuse(reason, held_by(bits, field.rows, len(self.fixed)))

    def keep_solvent(self, field: _Ranked) -> None:
        """What is left, less what this answer may already cost, must cover the highest charge."""
        left = self.remaining_micros[field.rows]
        for campaign_id, micros in self.owed_micros.items():
            left = left - micros * (self.fixed.campaign_id[field.rows] == campaign_id)
        field.refuse(NoAd.BUDGET_SPENT, left < field.bids.most)

    def pick(self, slot: Slot, field: _Ranked, seed: int, places: int) -> Pick:
        """Choose one of the living, price it (`pricing`), and take it out of the running."""
        (live,) = field.alive.nonzero()
        rows = field.rows[live]
        clicks = self.fixed.pays_per_click[rows]
        worth, pctr = field.bids.worth[live], field.scores.pctr[live]
        shown = field.scores.impressions
        shown = self.fixed.impressions[rows] if shown is None else shown[live]
        sd = tapered(field.scores.sd[live], shown, self.near_greedy)
        factor = None if field.factor is None else field.factor[live]
        choice = choose(
            ids=self.fixed.creative_id[rows],
            worth=worth if factor is None else worth * factor,
            pctr=pctr,
            sd=sd,
            pays_per_click=clicks,
            seed=seed,
            epsilon=self.epsilon,
            budget=self.exploration_budget,
        )
        varied = None if field.variety is None else field.variety[live]
        among = ChoiceSet(rows, worth, pctr, sd, choice.propensity, seed, factor, varied)
        pick = self.priced(slot, field, live, choice, among=among, places=places)
        if self.request.explain:
            field.sampled[live] = worth * np.where(clicks, choice.pctr * 1000, 1.0)
            field.propensity[live] = choice.propensity
        field.alive[live[choice.chosen]] = False
        self.taken = self.taken.plus(pick.candidate)
        self.owed_micros[pick.candidate.campaign_id] += pick.most_micros
        return pick

    def priced(
        self, slot: Slot, field: _Ranked, live: IntArray, choice: Choice, *, among: ChoiceSet, places: int
    ) -> Pick:
        """The pick with its price and what it is charged at most."""
        at = int(live[choice.chosen])
        row = int(field.rows[at])
        clicks = bool(self.fixed.pays_per_click[row])
        pctr = float(field.scores.pctr[at])
        price = price_micros(
            choice,
            worth=among.worth,
            pctr=among.pctr,
            pays_per_click=self.fixed.pays_per_click[among.rows],
            floor_micros=slot.floor_micros,
            places=places,
            auction=self.auction,
            factor=among.factor,
        )
        most = int(field.bids.most[at])
        bid_micros = int(field.bids.ecpm[at])
        second = int(live[choice.order[1]]) if len(choice.order) > 1 else None
        return Pick(
            candidate=self.fixed[row],
            row=row,
            bid_micros=bid_micros,
            price_micros=min(max(round(price), slot.floor_micros), bid_micros),
            price_kind="cpc" if clicks else "cpm",
            charge_micros=click_charge_micros(price, pctr=pctr, most_micros=most)
            if clicks
            else impression_charge_micros(price, most_micros=most),
            most_micros=most,
            floor_micros=slot.floor_micros,
            pctr=pctr,
            pcvr=float(field.scores.pcvr[at]),
            text=float(field.scores.text[at]),
            propensity=float(choice.propensity[choice.chosen]),
            explored=choice.is_uniform,
            runner_up_row=None if second is None else int(field.rows[second]),
            runner_up_micros=0 if second is None else int(field.bids.ecpm[second]),
            factor=1.0 if among.factor is None else float(among.factor[choice.chosen]),
            among=among,
        )


def _refused(reason: NoAd, rows: IntArray) -> Refused:
    return Refused(reason, len(rows), rows=rows)


def _latest(refused: Sequence[Refused]) -> NoAd:
    """The reason of whoever came closest to being shown."""
    reasons = (entry.reason for entry in refused)
    return max(reasons, key=_LATENESS.__getitem__, default=NoAd.NO_CANDIDATES)
