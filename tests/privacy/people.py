"""A visitor of whom everything is held that can be, made through the real stores."""

from __future__ import annotations

from datetime import datetime, timedelta

import redis

from adplatform.audience.models import Visitor
from adplatform.core.pseudonym import page_key, pseudonym
from adplatform.events.models import Feedback
from adplatform.events.records import FeedbackGiven, Record
from adplatform.learning.hidden import hide_key
from adplatform.learning.models import VisitorVector
from adplatform.learning.statistics import visitor_key
from adplatform.serving.counters import cap_key
from tests import factories
from tests.events import streams

PAGE = "https://paper.example/boats?reader=anna"


def visit(who: str, *, at: datetime) -> list[Record]:
    """What one visit with consent leaves on the stream: a decision, an impression, a view, a click, a word about the ad."""
    creative, slot = factories.creative(), factories.slot()
    ad = streams.served(creative, slot, visitor=bytes.fromhex(pseudonym(who)), served_at=at)
    decided = streams.decision(
        slot,
        decision_id=ad.decision_id.hex(),
        served_at=at,
        visitor=pseudonym(who),
        keywords="fishing, boats",
        url=page_key(PAGE),
        evidence="CONSENT",
    )
    said = FeedbackGiven(Feedback.Kind.NOT_INTERESTED.value, ad, at + timedelta(seconds=9))
    return [decided, *(streams.event(kind, ad) for kind in ("impression", "view", "click")), said]


def known(who: str, *, at: datetime, events: redis.Redis, hot: redis.Redis) -> str:
    """A visitor with facts, consent, reads, a segment, a vector, a pick and keys in Valkey; returns the pseudonym."""
    name = pseudonym(who)
    streams.append(events, *visit(who, at=at))
    streams.drain(events, at=at + timedelta(minutes=1))
    visitor = Visitor.objects.get(pseudonym=name)
    factories.segment().visitors.add(visitor)
    factories.conversion(visitor=name, occurred_at=at)
    factories.pick(visitor=name)
    VisitorVector.objects.create(visitor=name, encoder="e", vector=b"12", behaviours=1, computed_at=at)
    hot.hset(visitor_key(name), mapping={"n": 1, "u": b"\x00\x01"})
    hot.hset(cap_key(name), "campaign:1:3600:1", 1)
    hot.hset(hide_key(name), "n:1", 9_999_999_999)
    return name
