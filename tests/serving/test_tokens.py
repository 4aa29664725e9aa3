"""Tokens: signed, single purpose, written in one way only, readable under every configured key."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.events.records import Served
from adplatform.serving.tokens import KINDS, ForgedError, Signer

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
SIGNER = Signer(["new key", "old key"])


def served(**fields: object) -> Served:
    given = {
        "decision_id": b"0123456789abcdef",
        "served_at": NOON,
        "expires_at": NOON + timedelta(hours=24),
        "slot_id": 1,
        "publisher_id": 2,
        "advertiser_id": 3,
        "campaign_id": 4,
        "line_item_id": 5,
        "creative_id": 6,
        "visitor": b"v" * 16,
        "price_kind": "cpc",
        "charge_micros": 123_456,
        "currency": "EUR",
        "pctr": 0.0125,
        "landing_url": "https://shop.example/?a=1",
    }
    return Served(**given | fields)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_signed_is_read_back_for_this_purpose_only(kind: str) -> None:
    token = SIGNER.sign(kind, served())
    assert SIGNER.read(kind, token) == served()
    for other in set(KINDS) - {kind}:
        with pytest.raises(ForgedError):
            SIGNER.read(other, token)


def test_keys_rotate_without_loss() -> None:
    old = Signer(["old key"]).sign("click", served())
    assert SIGNER.read("click", old) == served()
    with pytest.raises(ForgedError):
        Signer(["old key"]).read("click", SIGNER.sign("click", served()))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, difference: int) -> None:
    token = SIGNER.sign("impression", served())
    raw = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[place % len(raw)] ^= difference
    with pytest.raises(ForgedError):
        SIGNER.read("impression", urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode())


@given(st.text(max_size=60))
def test_rubbish_is_forged_and_nothing_worse(text: str) -> None:
    with pytest.raises(ForgedError):
        SIGNER.read("click", text)


def test_another_spelling_of_the_same_bytes_is_no_second_token() -> None:
    token = SIGNER.sign("view", served())
    for spelling in (token + "=", token + "A"[:0] + "\n", token[:5] + "!" + token[5:]):
        with pytest.raises(ForgedError):
            SIGNER.read("view", spelling)


def test_a_token_is_short() -> None:
    assert len(SIGNER.sign("impression", served(landing_url=""))) < 200
