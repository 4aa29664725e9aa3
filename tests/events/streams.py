"""Records as the ads process writes them, about rows that the factories made."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import redis

from adplatform.events import ingest
from adplatform.events.facts import Fact
from adplatform.events.records import DecisionRecord, Record, Served, TokenEvent, pack
from adplatform.events.stream import FIELD, STREAM
from tests import factories
from tests.factories import NOON

PLENTY = 10**15


def served(creative: Any = None, slot: Any = None, **fields: Any) -> Served:
    """A served CPC ad whose click costs 0.01."""
    creative, slot = creative or factories.creative(), slot or factories.slot()
    campaign = creative.line_item.campaign
    at = fields.pop("served_at", NOON)
    given = {
        "decision_id": uuid.uuid4().bytes,
        "served_at": at,
        "expires_at": at + timedelta(hours=24),
        "slot_id": slot.pk,
        "publisher_id": slot.site.publisher_id,
        "advertiser_id": campaign.organisation_id,
        "campaign_id": campaign.pk,
        "line_item_id": creative.line_item_id,
        "creative_id": creative.pk,
        "visitor": b"",
        "price_kind": "cpc",
        "charge_micros": 10_000,
        "currency": campaign.currency,
        "pctr": 0.01,
    }
    return Served(**given | fields)


def again(ad: Served, **fields: Any) -> Served:
    """The same ad served once more: another decision."""
    values = {name: getattr(ad, name) for name in Served.__struct_fields__}
    return Served(**values | {"decision_id": uuid.uuid4().bytes} | fields)


def event(kind: str, ad: Served, *, after: float = 5.0, agent: str = "") -> TokenEvent:
    return TokenEvent(kind, ad, ad.served_at + timedelta(seconds=after), agent)


def decision(slot: Any, **fields: Any) -> DecisionRecord:
    """A request that got no ad."""
    nothing = dict.fromkeys(DecisionRecord.__struct_fields__[6:10])
    given = {
        "decision_id": uuid.uuid4().hex,
        "request_id": uuid.uuid4().hex,
        "served_at": NOON,
        "slot_id": slot.pk,
        "site_id": slot.site_id,
        "publisher_id": slot.site.publisher_id,
        "no_ad": "no_candidates",
        "mode": "contextual",
        "currency": "USD",
        "source": "live",
        "refused": {},
        "versions": {},
        **dict.fromkeys(("visitor", "country", "region", "language", "device", "keywords", "price_kind"), ""),
        **dict.fromkeys(
            ("bid_micros", "price_micros", "floor_micros", "charge_micros", "candidates", "seed"), 0
        ),
        **dict.fromkeys(("text_score", "pctr", "pcvr", "propensity")),
        "position": 1,
    }
    return DecisionRecord(**nothing | given | fields)


def append(client: redis.Redis, *records: Record) -> None:
    for record in records:
        client.xadd(STREAM, {FIELD: pack(record)})


def drain(client: redis.Redis, *, at: datetime = NOON, money: int = PLENTY, **options: Any) -> list[Fact]:
    """Until the stream is empty, for advertisers with this much money; returns what was counted."""
    facts: list[Fact] = []
    while ingest.drain(
        client, granted=lambda ids: dict.fromkeys(ids, money), after_commit=facts.extend, at=at, **options
    ):
        pass
    return facts
