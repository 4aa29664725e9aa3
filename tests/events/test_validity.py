"""Every event keeps the first reason that holds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adplatform.events.records import Served, TokenEvent
from adplatform.events.validity import COUNTED, GENERAL, SOPHISTICATED, Reason, reason_not_billable
from tests.factories import NOON


def event(
    kind: str = "click", *, after: float = 5.0, agent: str = "", seen: str = "", **fields: object
) -> TokenEvent:
    given = {"price_kind": "cpc", "source": "live"} | fields
    ad = Served(
        decision_id=b"d" * 16,
        served_at=NOON,
        expires_at=NOON + timedelta(hours=24),
        slot_id=1,
        publisher_id=1,
        advertiser_id=1,
        campaign_id=1,
        line_item_id=1,
        creative_id=1,
        visitor=b"",
        charge_micros=1,
        currency="USD",
        **given,
    )
    return TokenEvent(kind, ad, NOON + timedelta(seconds=after), agent, b"", seen)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (event(), None),
        (event("impression", price_kind="cpm"), None),
        (event(source="test", agent="bot"), Reason.TEST),
        (event(agent="import", after=-301), Reason.IMPORTED),
        (event(after=24 * 3600), None),
        (event(after=24 * 3600 + 0.001), Reason.LATE),
        (event(agent="bot"), Reason.BOT),
        (event(agent="not_a_browser"), Reason.NOT_A_BROWSER),
        (event(agent="data_centre", after=0.1), Reason.DATA_CENTRE),
        (event(agent="own"), Reason.OWN),
        (event("impression", seen="hidden", price_kind="cpm"), Reason.HIDDEN),
        (event("impression", seen="stacked", price_kind="cpm"), Reason.STACKED),
        (event("impression", seen="yes", price_kind="cpm"), None),
        (event(after=-301), Reason.FROM_THE_FUTURE),
        (event(after=0.199), Reason.TOO_FAST),
        (event(after=0.2), None),
        (event("impression", after=0.01, price_kind="cpm"), None),
        (event("impression"), Reason.PAID_BY_CLICK),
        (event(price_kind="cpm"), Reason.PAID_BY_IMPRESSION),
        (event("view"), Reason.FREE),
    ],
)
def test_first_reason(given: TokenEvent, reason: Reason | None) -> None:
    assert reason_not_billable(given) == reason


def test_invalid_traffic_never_counts() -> None:
    invalid = {Reason.TEST, Reason.IMPORTED, Reason.LATE} | GENERAL | SOPHISTICATED
    assert invalid.isdisjoint(COUNTED)
    assert GENERAL.isdisjoint(SOPHISTICATED)
    assert invalid | COUNTED - {""} == set(Reason)
