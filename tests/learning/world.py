"""A small market of plain rows for the tests of learning: seeded visitors who like one topic and click on it.

Decisions and visitors have the same ids in every run: what is served in the same second is told in the order of its
ids, and visitors are drawn in the order of theirs, so that figures of models are the same to the last digit.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.campaigns.models import Creative
from adplatform.decision.types import BidStrategy, Candidate, Slot
from adplatform.events.facts import Fact
from adplatform.events.models import AdDecision, Click, Impression
from adplatform.inventory.models import AdSlot
from tests import factories
from tests.factories import NOON

TOPICS = {
    "garden": ["Pruning roses in spring", "Growing tomatoes on a balcony", "A lawn without moss"],
    "cars": ["Electric cars tested in winter", "Changing brake pads at home", "The best family vans"],
    "cooking": ["Soups for cold evenings", "Bread with a crisp crust", "Knives that stay sharp"],
}
ADS = {
    "garden": ["Garden tools that last", "Seeds for your vegetable patch"],
    "cars": ["Winter tyres, fitted today", "Lease a new electric car"],
    "cooking": ["A cast iron pan for life", "Spices from small farms"],
}


@dataclass
class World:
    """Rows of the market; `facts` are its events in the order in which they happened."""

    creatives: list[Creative]
    slots: list[AdSlot]
    visitors: list[Visitor]
    topics: list[str]
    facts: list[Fact] = field(default_factory=list)

    def candidates(self) -> list[Candidate]:
        return [candidate(one) for one in self.creatives]


def candidate(creative: Creative, **fields: object) -> Candidate:
    line_item = creative.line_item
    given = {
        "creative_id": creative.pk,
        "line_item_id": line_item.pk,
        "campaign_id": line_item.campaign_id,
        "advertiser_id": line_item.campaign.organisation_id,
        "width": creative.width,
        "height": creative.height,
        "currency": "USD",
        "bid_strategy": BidStrategy.MANUAL_CPC,
        "bid_micros": 500_000,
        "remaining_micros": 10**12,
    }
    return Candidate(**given | fields)


def decision_slot(slot: AdSlot) -> Slot:
    return Slot(
        id=slot.pk,
        public_id=slot.public_id,
        site_id=slot.site_id,
        publisher_id=slot.site.publisher_id,
        format=str(slot.format),
        width=slot.width,
        height=slot.height,
        currency=slot.site.currency,
        position=slot.position,
        time_zone=slot.site.time_zone,
    )


def market(*, visitors: int = 12) -> World:
    """Two sites with two slots each, three advertisers with two creatives each, consenting readers of one topic."""
    places = [
        factories.slot(factories.site(description=text, time_zone=zone), position=position)
        for text, zone in (("News about gardens and homes", "Europe/Berlin"), ("Recipes and kitchens", "UTC"))
        for position in (1, 2)
    ]
    creatives = []
    for headlines in ADS.values():
        line_item = factories.line_item()
        creatives += [factories.creative(line_item, headline=headline, body="") for headline in headlines]
    topics = [list(TOPICS)[number % len(TOPICS)] for number in range(visitors)]
    people = [factories.visitor(pseudonym=f"{number:032x}") for number in range(1, visitors + 1)]
    Consent.objects.bulk_create(
        Consent(visitor=person, is_granted=True, source="tcf", at=NOON - timedelta(days=90))
        for person in people
    )
    Behaviour.objects.bulk_create(
        Behaviour(
            visitor=person,
            kind=Behaviour.Kind.READ,
            item=f"page-{number}",
            text=text,
            occurred_at=NOON - timedelta(days=20, minutes=number),
        )
        for person, topic in zip(people, topics, strict=True)
        for number, text in enumerate(TOPICS[topic])
    )
    return World(creatives, places, people, topics)


def show(
    world: World, *, impressions: int, since: datetime, until: datetime, seed: int = 1, lift: float = 8.0
) -> None:
    """Random ads for random visitors; who reads about an ad's topic clicks `lift` times as often. Every tenth
    request has no visitor."""
    rng, ids = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    topic_of = [topic for topic, headlines in ADS.items() for _ in headlines]
    decisions, shown, clicks = [], [], []
    seconds = np.sort(rng.integers(0, int((until - since).total_seconds()), impressions))
    for number, second in enumerate(seconds.tolist()):
        who, which = int(rng.integers(len(world.visitors))), int(rng.integers(len(world.creatives)))
        slot = world.slots[int(rng.integers(len(world.slots)))]
        fits = world.topics[who] == topic_of[which]
        visitor = "" if number % 10 == 0 else world.visitors[who].pseudonym
        served_at = since + timedelta(seconds=second)
        decision = _decision(world.creatives[which], slot, served_at, visitor, uuid.UUID(bytes=ids.bytes(16)))
        decisions.append(decision)
        shown.append(_event(Impression, decision, served_at))
        if rng.random() < 0.08 * (lift if fits else 1.0) / slot.position:
            clicks.append(_event(Click, decision, served_at + timedelta(seconds=int(rng.integers(2, 90)))))
    AdDecision.objects.bulk_create(decisions)
    Impression.objects.bulk_create(shown)
    Click.objects.bulk_create(clicks)
    world.facts += sorted(
        [_fact("impression", row) for row in shown] + [_fact("click", row) for row in clicks],
        key=lambda fact: (fact.occurred_at, fact.kind == "click", fact.decision_id),
    )


def _decision(
    creative: Creative, slot: AdSlot, served_at: datetime, visitor: str, decision_id: uuid.UUID | None = None
) -> AdDecision:
    return AdDecision(
        decision_id=decision_id or uuid.uuid4(),
        request_id=uuid.uuid4(),
        served_at=served_at,
        slot_id=slot.pk,
        site_id=slot.site_id,
        publisher_id=slot.site.publisher_id,
        advertiser_id=creative.line_item.campaign.organisation_id,
        campaign_id=creative.line_item.campaign_id,
        line_item_id=creative.line_item_id,
        creative_id=creative.pk,
        mode="model",
        visitor=visitor,
        device="mobile" if slot.position == 2 else "desktop",
        position=slot.position,
        currency="USD",
    )


def _event(model: type, decision: AdDecision, occurred_at: datetime) -> object:
    copied = (
        "decision_id",
        "served_at",
        "slot_id",
        "publisher_id",
        "advertiser_id",
        "campaign_id",
        "line_item_id",
    )
    names = (*copied, "creative_id", "visitor", "currency")
    return model(
        **{name: getattr(decision, name) for name in names}, occurred_at=occurred_at, is_billable=True
    )


def _fact(kind: str, row: object) -> Fact:
    names = ("served_at", "occurred_at", "creative_id", "line_item_id", "slot_id", "visitor")
    return Fact(kind=kind, decision_id=row.decision_id.hex, **{name: getattr(row, name) for name in names})
