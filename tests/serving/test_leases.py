"""Budget leases through the serving code: what is served is paid for, and a lease lost is nothing spent."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from adplatform.campaigns import budgets
from adplatform.campaigns.stretches import stretch_of
from adplatform.core import clock
from adplatform.learning.statistics import UNTIL_KEY
from adplatform.serving import granting, leases
from adplatform.serving.lease_protocol import (
    EPOCH_KEY,
    PENDING_SECONDS,
    PROCESSES_KEY,
    TTL_SECONDS,
    lease_key,
)
from tests.serving import market as m

pytestmark = pytest.mark.django_db


def _two_of_5_000() -> tuple[Any, dict[str, Any]]:
    """An ad of whose impressions, 2,000 micros each, two fit into the day's budget; and a question for it."""
    ad = m.ad(
        campaign={"bid_strategy": "manual_cpm", "daily_budget_micros": 5_000},
        line_item={"bid_micros": 2 * m.MICROS},
    )
    slot = m.slot(floor_micros=2 * m.MICROS)
    return ad, {"placements": [{"id": "a", "slot": slot.public_id}]}


def _no_ad(ask: Any, body: Any) -> Any:
    return ask("POST", "/v1/decisions", body).json["placements"]["a"]["no_ad"]


def _row(hot: Any, campaign_id: int) -> dict[str, int]:
    """left, and the sums of leases and of what was spent."""
    row = {name.decode(): value for name, value in hot.hgetall(lease_key(campaign_id)).items()}
    sums = {"left": int(row["left"]), "leased": 0, "spent": 0}
    for name, value in row.items():
        if name[:2] in ("p:", "u:"):
            sums["leased" if name[0] == "p" else "spent"] += int(value)
    return sums


def test_what_was_served_stays_reserved_until_it_is_billed_or_never_will_be(serve, ask, hot) -> None:
    ad, body = _two_of_5_000()
    market = serve()
    assert [_no_ad(ask, body) for _ in range(4)] == [None, None, "budget_spent", "budget_spent"]
    market.publish()  # PostgreSQL has heard of nothing: the impressions may still come
    assert _no_ad(ask, body) == "budget_spent"
    assert _row(hot, ad.line_item.campaign_id) == {"left": 5_000, "leased": 0, "spent": 4_000}
    hot.set(UNTIL_KEY, time.time() + PENDING_SECONDS + 60)  # they did not come
    market.publish()
    assert _no_ad(ask, body) is None


def test_a_click_is_reserved_by_the_probability_that_it_comes(serve, ask, hot) -> None:
    ad = m.ad(
        campaign={"bid_strategy": "manual_cpc", "daily_budget_micros": 100 * m.MICROS},
        line_item={"bid_micros": 5 * m.MICROS},
    )
    slot = m.slot(floor_micros=m.MICROS)
    market = serve()
    answered = ask("POST", "/v1/decisions", {"placements": [{"id": "a", "slot": slot.public_id}]})
    assert len(answered.json["placements"]["a"]["ads"]) == 1
    market.server.leases.close()
    spent = _row(hot, ad.line_item.campaign_id)["spent"]
    assert spent == pytest.approx(1_000, abs=5)  # the floor of one impression, whatever a click costs
    assert _row(hot, ad.line_item.campaign_id)["leased"] == 0


def test_a_clean_stop_gives_everything_back(serve, ask, hot) -> None:
    ad, body = _two_of_5_000()
    market = serve()
    assert _no_ad(ask, body) is None
    assert _row(hot, ad.line_item.campaign_id)["leased"] > 0
    market.server.close()
    assert _row(hot, ad.line_item.campaign_id) == {"left": 5_000, "leased": 0, "spent": 2_000}
    assert hot.zcard(PROCESSES_KEY) == 0


def test_without_a_beat_a_process_spends_nothing(serve, ask, hot, monkeypatch) -> None:
    _, body = _two_of_5_000()
    serve()
    assert _no_ad(ask, body) is None
    later = time.monotonic() + TTL_SECONDS + 1
    monkeypatch.setattr(leases.time, "monotonic", lambda: later)
    hot.delete(EPOCH_KEY)  # it cannot join again
    assert _no_ad(ask, body) == "budget_spent"


def test_an_emptied_valkey_gives_nothing_until_the_worker_has_been_there(serve, ask, hot) -> None:
    _, body = _two_of_5_000()
    market = serve()
    market.publish()  # a round of the worker has seen this process
    hot.flushdb()
    market.server.leases._beat_at = 0.0
    assert _no_ad(ask, body) is None  # what is held can be spent
    assert [_no_ad(ask, body) for _ in range(3)][-1] == "budget_spent"
    market.publish()  # a new epoch, which this process has to join
    assert int(hot.hget(EPOCH_KEY, "number")) == 2
    assert int(hot.hget(EPOCH_KEY, "waiting")) == 1
    assert _no_ad(ask, body) == "budget_spent"
    market.publish()
    assert int(hot.hget(EPOCH_KEY, "waiting")) == 0
    # Both impressions were told to the new epoch before anything was given.
    assert _no_ad(ask, body) == "budget_spent"


def test_charges_of_before_an_epoch_set_nothing_free(hot, db) -> None:
    """A Valkey that was emptied has lost what was told of these stretches."""
    campaign = m.ad(campaign={"daily_budget_micros": 5_000}).line_item.campaign
    granter, now = granting.Granter(hot), clock.now()
    granter.renew(at=now)

    def charge(micros: int, at: datetime) -> dict[str, int]:
        one = budgets.Charge(campaign.pk, campaign.organisation_id, at, micros)
        budgets.charge([one], granted=lambda ids: dict.fromkeys(ids, 10**9), at=at)
        granter.renew(at=at)
        row = hot.hgetall(lease_key(campaign.pk))
        return {name.decode(): int(value) for name, value in row.items() if name[:2] in (b"le", b"c:")}

    second = now + timedelta(seconds=20)
    first_stretch, second_stretch = (
        stretch_of(at.timestamp()) for at in (now + timedelta(seconds=10), second)
    )
    assert charge(100, now + timedelta(seconds=10)) == {"left": 4_900, f"c:{first_stretch}": 100}
    assert charge(200, second)[f"c:{second_stretch}"] == 200
    hot.flushdb()
    granter.renew(at=now + timedelta(seconds=21))
    later = now + timedelta(seconds=30)
    assert charge(300, later) == {"left": 4_400, f"c:{stretch_of(later.timestamp())}": 300}


def test_the_metrics_tell_of_leases(serve, ask) -> None:
    _, body = _two_of_5_000()
    serve()
    ask("POST", "/v1/decisions", body)
    text = ask("GET", "/metrics").body.decode()
    assert "adplatform_lease_epoch 1\n" in text
    assert "adplatform_leases 1\n" in text
