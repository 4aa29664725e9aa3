"""A day of the invented market goes through the real services, and an interrupted day can be lived again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adplatform.billing.reconciliation import reconcile
from adplatform.billing.services import settle
from adplatform.demo.build import build
from adplatform.demo.catalogue import market
from adplatform.demo.history import History
from adplatform.demo.truth import generate
from adplatform.events.models import AdDecision, Click, HourlyStat, Impression

START = datetime(2026, 11, 2, tzinfo=UTC)
SEED = 7


@pytest.mark.django_db(transaction=True)
def test_a_day_lived_twice_counts_once(hot: Any, events: Any) -> None:
    plan = market()
    truth = generate(plan, people=25, seed=SEED)
    made = build(plan, starts_at=START)
    assert build(plan, starts_at=START) == made  # building again finds what is there

    def lived() -> tuple[int, ...]:
        history = History(plan=plan, truth=truth, market=made, seed=SEED, scale=0.5)
        history.live(START.date(), after_round=lambda _: None)
        stored = (AdDecision.objects.count(), Impression.objects.count(), Click.objects.count())
        counted = sum(HourlyStat.objects.values_list("impressions", flat=True))
        assert counted == stored[1]
        return stored

    first = lived()
    assert first[0] > 20
    # Who asked can be told from the request ids alone, whether he agreed or not.
    asked = History(plan=plan, truth=truth, market=made, seed=SEED, scale=0.5).asked(START.date())
    assert {str(one) for one in AdDecision.objects.values_list("request_id", flat=True)} <= set(asked)
    assert lived() == first
    settle(at=START + timedelta(days=2))
    assert not reconcile().violations
