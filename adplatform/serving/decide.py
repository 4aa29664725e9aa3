"""One ad request to one answer, apart from HTTP, clocks and servers: time, chance and data come in as arguments.

This is what the endpoint, the demo market, tests and benchmarks call alike. No Django here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any
from zlib import crc32

import msgspec

from adplatform import settings
from adplatform.core import ids
from adplatform.core.pseudonym import page_key
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.engine import decide
from adplatform.decision.types import AdRequest, Decision, Outcome, Pick, Placement, Seen, Slot, TableRow
from adplatform.events.records import DecisionRecord, Served
from adplatform.learning.scorer import Patience, RequestScorer
from adplatform.learning.statistics import LiveStatistics

from . import choices
from .counters import Known, seen_from
from .fallback import Instead
from .leases import Spend
from .snapshot import Snapshot
from .tokens import WHY, Signer, signer

NOBODY = Known({}, {})
LIFETIME = timedelta(hours=settings.DECISION_TOKEN_HOURS)
_LONGEST_LANDING = 600  # characters that a click token carries; longer ones are looked up in the snapshot


@dataclass(frozen=True, slots=True)
class Shown:
    """A served ad: what was picked, and all that its events will need."""

    pick: Pick
    served: Served

    @property
    def decision_id(self) -> str:
        return self.served.decision_id.hex()


@dataclass(frozen=True, slots=True)
class Filled:
    """What one placement got: ads in order, or none, why, and what stands there instead."""

    placement: Placement
    shown: tuple[Shown, ...]
    no_ad: str | None
    instead: Instead | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer. `records` go to the stream; `past` are fields of frequency caps that may be dropped."""

    request: AdRequest
    mode: str
    filled: tuple[Filled, ...]
    records: tuple[DecisionRecord, ...]
    decision: Decision | None
    versions: Mapping[str, str]
    past: list[bytes]

    @property
    def shown(self) -> tuple[Shown, ...]:
        return tuple(ad for filled in self.filled for ad in filled.shown)


def answer(
    request: AdRequest,
    *,
    snapshot: Snapshot,
    statistics: LiveStatistics,
    rng: Random,
    known: Known | None = NOBODY,
    spend: Spend | None = None,
    source: str = "live",
    evidence: str = "",
    draw: ids.Draw = os.urandom,
    ranked: int | None = None,
    patience: Patience | None = None,
) -> Answer:
    """Decide a request at `request.at`.

    `known`: what Valkey holds of the visitor; None (it did not answer), or a request without a visitor, is served by
    context alone. `spend`: what is left locally, and is taken from. `draw` makes the decision ids. `ranked`: how many
    the models rank, instead of the setting. `patience`: whether there is time for the trees.
    """
    is_contextual = request.visitor is None or known is None
    asked = replace(request, visitor=None) if is_contextual else request
    seen, past = (Seen(), []) if is_contextual or known is None else seen_from(known, request.at)
    visitor = {} if is_contextual or known is None else known.visitor
    models = snapshot.models_for(request.visitor or request.request_id)
    scorer = RequestScorer(models, visitor, statistics.view, patience)
    decision = decide(
        request=asked,
        candidates=snapshot.candidates,
        seen=seen,
        scorer=scorer,
        rng=rng,
        epsilon=settings.DECISION_EPSILON,
        exploration_budget=settings.EXPLORATION_BUDGET,
        near_greedy=settings.NEAR_GREEDY_IMPRESSIONS,
        ranked=settings.RANKED_CANDIDATES if ranked is None else ranked,
        remaining_micros=spend.remaining_micros if spend is not None else None,
        shortlist=scorer.shortlist(snapshot.candidates),
        rules=snapshot.rules,
    )
    mode = "contextual" if is_contextual else scorer.mode
    versions = {**snapshot.versions, **decision.versions}
    filled = tuple(
        _filled(outcome, request, snapshot, seed=decision.seed, source=source, draw=draw)
        for outcome in decision.outcomes
    )
    context = _Context(request, decision, scorer, mode, versions, source, evidence, snapshot.candidates, draw)
    if spend is not None and source != "test":
        for pick in decision.picks:
            spend.take(pick, request.at)
    records = tuple(
        record
        for got, outcome in zip(filled, decision.outcomes, strict=True)
        for record in context.records(got, outcome)
    )
    return Answer(request, mode, filled, records, decision, versions, past)


def unanswered(request: AdRequest, *, mode: str, reason: str, snapshot: Snapshot | None = None) -> Answer:
    """No paid ad in any placement: nothing could be decided, and nothing is recorded but a count."""
    seed = crc32(request.request_id.encode())
    filled = tuple(
        Filled(placement, (), reason, _instead(placement.slot, snapshot, seed))
        for placement in request.placements
    )
    return Answer(request, mode, filled, (), None, {}, [])


def _filled(
    outcome: Outcome, request: AdRequest, snapshot: Snapshot, *, seed: int, source: str, draw: ids.Draw
) -> Filled:
    slot = outcome.placement.slot
    shown = [
        Shown(pick, _served(pick, slot, request, snapshot, source=source, draw=draw))
        for pick in outcome.picks
        if slot is not None
    ]
    instead = None if shown else _instead(slot, snapshot, seed)
    return Filled(outcome.placement, tuple(shown), outcome.no_ad, instead)


def _instead(slot: Slot | None, snapshot: Snapshot | None, seed: int) -> Instead | None:
    """What stands in a slot without a paid ad; None where its publisher has nothing for it."""
    if slot is None or snapshot is None or slot.id not in snapshot.fallbacks:
        return None
    return snapshot.fallbacks[slot.id].pick(seed + slot.id)


def _served(
    pick: Pick, slot: Slot, request: AdRequest, snapshot: Snapshot, *, source: str, draw: ids.Draw
) -> Served:
    candidate = pick.candidate
    landing = snapshot.ads[candidate.creative_id].landing_url
    return Served(
        decision_id=bytes.fromhex(ids.decision_id(request.at, draw)),
        served_at=request.at,
        expires_at=request.at + LIFETIME,
        slot_id=slot.id,
        publisher_id=slot.publisher_id,
        advertiser_id=candidate.advertiser_id,
        campaign_id=candidate.campaign_id,
        line_item_id=candidate.line_item_id,
        creative_id=candidate.creative_id,
        visitor=bytes.fromhex(request.visitor) if request.visitor else b"",
        price_kind=pick.price_kind,
        charge_micros=pick.charge_micros,
        currency=slot.currency,
        source=source,
        pctr=pick.pctr,
        landing_url=landing if len(landing) <= _LONGEST_LANDING else "",
    )


@dataclass(frozen=True, slots=True)
class _Context:
    """What the records of one request share."""

    request: AdRequest
    decision: Decision
    scorer: RequestScorer
    mode: str
    versions: Mapping[str, str]
    source: str
    evidence: str
    candidates: CandidateSet
    draw: ids.Draw

    def records(self, filled: Filled, outcome: Outcome) -> list[DecisionRecord]:
        """One per ad, or one that says why there is none. An unknown slot leaves no record."""
        slot = filled.placement.slot
        if slot is None:
            return []
        refused: dict[str, int] = {}
        for entry in outcome.refused:
            refused[entry.reason.value] = refused.get(entry.reason.value, 0) + entry.count
        if not filled.shown:
            records = [self._record(slot, None, 0, refused, filled)]
        else:
            records = [
                self._record(slot, ad, number, refused, filled) for number, ad in enumerate(filled.shown)
            ]
        if choices.is_table_kept(self.decision.seed):
            table = choices.table_of(outcome, self.candidates)
            records[0] = msgspec.structs.replace(records[0], candidate_table=table)
        return records

    def _record(
        self, slot: Slot, shown: Shown | None, ordinal: int, refused: dict[str, int], filled: Filled
    ) -> DecisionRecord:
        request = self.request
        return DecisionRecord(
            decision_id=shown.decision_id if shown else ids.decision_id(request.at, self.draw),
            request_id=request.request_id,
            served_at=request.at,
            slot_id=slot.id,
            site_id=slot.site_id,
            publisher_id=slot.publisher_id,
            no_ad=filled.no_ad or "",
            mode=self.mode,
            visitor=request.visitor or "",
            country=request.country,
            region=request.region,
            language=request.language[:8],
            device=request.device,
            keywords=", ".join(request.keywords)[:400],
            position=slot.position,
            currency=slot.currency,
            floor_micros=slot.floor_micros,
            candidates=len(self.candidates),
            refused=refused,
            versions=dict(self.versions),
            seed=self.decision.seed,
            source=self.source,
            ordinal=ordinal,
            url=page_key(request.url) if request.visitor and request.url else "",
            evidence=self.evidence,
            features=self.scorer.features_of(slot, shown.pick.row) if shown else b"",
            choice_set=self._choice_set(slot, shown),
            instead=filled.instead.code if filled.instead else "",
            **_picked(shown),
        )

    def _choice_set(self, slot: Slot, shown: Shown | None) -> dict[str, Any] | None:
        if shown is None or not choices.is_kept(self.decision.seed):
            return None
        return choices.as_json(shown.pick.among, self.candidates, self.scorer, slot)


def _picked(shown: Shown | None) -> dict[str, Any]:
    """The columns that an ad fills."""
    if shown is None:
        nothing = ("advertiser_id", "campaign_id", "line_item_id", "creative_id")
        numbers = ("text_score", "pctr", "pcvr", "propensity")
        prices = {"bid_micros": 0, "price_micros": 0, "price_kind": "", "charge_micros": 0}
        return dict.fromkeys((*nothing, *numbers)) | prices
    pick, candidate = shown.pick, shown.pick.candidate
    return {
        "advertiser_id": candidate.advertiser_id,
        "campaign_id": candidate.campaign_id,
        "line_item_id": candidate.line_item_id,
        "creative_id": candidate.creative_id,
        "bid_micros": pick.bid_micros,
        "price_micros": pick.price_micros,
        "price_kind": pick.price_kind,
        "charge_micros": pick.charge_micros,
        "text_score": pick.text if pick.text == pick.text else None,  # NaN where no text score was used
        "pctr": pick.pctr,
        "pcvr": pick.pcvr,
        "propensity": pick.propensity,
        "explored": pick.explored,
        "runner_up_micros": pick.runner_up_micros,
        "factor": pick.factor,
    }


# --- as JSON ----------------------------------------------------------------------------------------------------------


def as_json(
    answer: Answer, *, snapshot: Snapshot | None, base_url: str, sign: Signer = signer
) -> dict[str, Any]:
    """The body of POST /v1/decisions."""
    body: dict[str, Any] = {
        "request_id": answer.request.request_id,
        "mode": answer.mode,
        "placements": {
            filled.placement.id: {
                "ads": [_ad_json(shown, snapshot, base_url, sign) for shown in filled.shown]
                if snapshot
                else [],
                "no_ad": filled.no_ad,
            }
            | (filled.instead.json if filled.instead else {})
            for filled in answer.filled
        },
    }
    if answer.request.explain and answer.decision is not None and snapshot is not None:
        body["explain"] = _explain_json(answer.decision, answer, snapshot.candidates)
    return body


def _ad_json(shown: Shown, snapshot: Snapshot, base_url: str, sign: Signer) -> dict[str, Any]:
    candidate = shown.pick.candidate
    ad = snapshot.ads[candidate.creative_id]
    bare = msgspec.structs.replace(shown.served, landing_url="")
    impression, view, why = sign.sign_all(("impression", "view", "why"), bare)
    click_url = f"{base_url}/c/{sign.sign('click', shown.served)}"
    why_url = f"{settings.BASE_URL}{WHY}{why}"
    return {
        "decision_id": shown.decision_id,
        "campaign_id": candidate.campaign_public_id,
        "line_item_id": candidate.line_item_public_id,
        "creative_id": candidate.creative_public_id,
        "format": candidate.format,
        "content": ad.content,
        "html": ad.html(click_url=click_url, why_url=why_url),
        "impression_url": f"{base_url}/e/i/{impression}",
        "view_url": f"{base_url}/e/v/{view}",
        "click_url": click_url,
        "why_url": why_url,
    }


def _explain_json(decision: Decision, answer: Answer, candidates: CandidateSet) -> dict[str, Any]:
    return {
        "seed": decision.seed,
        "auction": decision.auction,
        "epsilon": decision.epsilon,
        "versions": dict(answer.versions),
        "reasons": {reason.value: count for reason, count in decision.reasons.items()},
        "placements": {
            outcome.placement.id: {
                "floor_micros": outcome.placement.slot.floor_micros if outcome.placement.slot else None,
                "picks": [_pick_json(pick, candidates) for pick in outcome.picks],
                "candidates": [
                    _line_json(line) for line in decision.table if line.placement_id == outcome.placement.id
                ],
            }
            for outcome in decision.outcomes
        },
    }


def _pick_json(pick: Pick, candidates: CandidateSet) -> dict[str, Any]:
    second = pick.runner_up_row
    return {
        "creative_id": pick.candidate.creative_public_id,
        "bid_micros": pick.bid_micros,
        "price_micros": pick.price_micros,
        "price_kind": pick.price_kind,
        "charge_micros": pick.charge_micros,
        "propensity": pick.propensity,
        "explored": pick.explored,
        "factor": pick.factor,
        "runner_up": None if second is None else candidates[second].creative_public_id,
        "runner_up_micros": pick.runner_up_micros,
    }


def _line_json(line: TableRow) -> dict[str, Any]:
    return {
        "position": line.position,
        "creative_id": line.candidate.creative_public_id,
        "line_item_id": line.candidate.line_item_public_id,
        "campaign_id": line.candidate.campaign_public_id,
        "reason": line.reason.value if line.reason is not None else None,
        "text_score": line.text,
        "pctr": line.pctr,
        "pcvr": line.pcvr,
        "bid_micros": line.bid_micros,
        "sampled_micros": line.sampled_micros,
        "propensity": line.propensity,
    }
