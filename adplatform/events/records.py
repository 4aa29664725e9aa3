"""What travels on the stream, packed with msgpack: decisions, impressions, views, clicks, conversion pixels, and what
visitors say about an ad.

No Django here: the ads process writes these and `ingest` reads them. Fields may be added at the end with a
default, never moved: a stream or spool may hold records of an older release.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

KINDS = ("impression", "view", "click")


class Served(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """All that billing and attribution need to know of a served ad. Tokens carry it, signed.

    `decision_id` and `visitor` are 16 raw bytes (`visitor` empty without consent). `charge_micros` is owed for
    one impression (`price_kind` cpm) or one click (cpc). `landing_url` stands in click tokens only.
    """

    decision_id: bytes
    served_at: datetime
    expires_at: datetime
    slot_id: int
    publisher_id: int
    advertiser_id: int
    campaign_id: int
    line_item_id: int
    creative_id: int
    visitor: bytes
    price_kind: str
    charge_micros: int
    currency: str
    source: str = "live"
    pctr: float = 0.0
    landing_url: str = ""


class TokenEvent(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="e"):
    """An impression, view or click of a served ad, as its token proved it.

    `agent` is why nobody's person asked, as the ads role judged (serving.agents), 'import' for what a data set logged
    elsewhere. `origin` is a hash of the address that nobody can undo. `seen` is what the tag measured: of an impression
    'yes' where it can tell a view, else 'hidden' or 'stacked'; of a view the standard it met: 'display50' (half the pixels
    for a second), 'display30' (of large ads), 'video50' (for two).
    """

    kind: str
    served: Served
    occurred_at: datetime
    agent: str = ""
    origin: bytes = b""
    seen: str = ""


class DecisionRecord(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="d"):
    """One ad of one answer, or none with its reason; the columns of events.AdDecision.

    `ordinal` counts the ads of one placement from 0: only the first counts as the request of its slot. `url` and
    `evidence` (what the visitor agreed to, as it was sent) are empty without consent. `features` are what the blender
    saw of the ad, float32 little endian (empty where no blender decided), from which a decision is explained later.
    `factor` is by how much rules let its worth count, `instead` what stands where no paid ad won (house:ID, passback).
    `candidate_table` holds the candidates of a sampled decision.
    """

    decision_id: str
    request_id: str
    served_at: datetime
    slot_id: int
    site_id: int
    publisher_id: int
    advertiser_id: int | None
    campaign_id: int | None
    line_item_id: int | None
    creative_id: int | None
    no_ad: str
    mode: str
    visitor: str
    country: str
    region: str
    language: str
    device: str
    keywords: str
    position: int
    currency: str
    bid_micros: int
    price_micros: int
    floor_micros: int
    price_kind: str
    charge_micros: int
    text_score: float | None
    pctr: float | None
    pcvr: float | None
    propensity: float | None
    candidates: int
    refused: dict[str, int]
    versions: dict[str, str]
    seed: int
    source: str
    ordinal: int = 0
    url: str = ""
    evidence: str = ""
    features: bytes = b""
    explored: bool = False
    runner_up_micros: int = 0
    choice_set: dict[str, Any] | None = None
    factor: float = 1.0
    instead: str = ""
    candidate_table: dict[str, Any] | None = None


class PixelConversion(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="p"):
    """A conversion pixel. `click` is the proven click; without it `advertiser` is a public id and nothing is proven."""

    action: str
    event_id: str
    occurred_at: datetime
    advertiser: str
    click: Served | None
    value_micros: int | None
    currency: str


class FeedbackGiven(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="f"):
    """What a visitor said of a served ad, or took back; a row of events.Feedback, where its words are."""

    kind: str
    served: Served
    occurred_at: datetime
    turn: int = 0
    is_given: bool = True


class Tallied(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="t"):
    """What became of line items in one hour, as a serving process counted it since its last report. `process` (16 raw
    bytes) and `number` name the report, so that it is added once. A row holds a line item, its campaign, its advertiser,
    then a count for each of `outcomes`."""

    process: bytes
    number: int
    hour: datetime
    source: str
    outcomes: list[str]
    rows: list[list[int]]


Record = TokenEvent | DecisionRecord | PixelConversion | FeedbackGiven | Tallied

pack = msgspec.msgpack.Encoder().encode
# The record, or msgspec.DecodeError (msgspec.ValidationError) for what is none.
unpack: Callable[[bytes], Record] = msgspec.msgpack.Decoder(Record).decode
