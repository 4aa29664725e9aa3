"""An operator's rule reaches the servers with the next snapshot, keeps out whom it names, and is counted and recorded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from adplatform.accounts.models import AuditEntry
from adplatform.campaigns import rules
from adplatform.campaigns.models import Creative, OperatorRule
from adplatform.core import clock
from adplatform.core.models import Outbox
from adplatform.decision.rules import RuleAction
from adplatform.events.models import AdDecision
from adplatform.inventory.categories import relate
from adplatform.inventory.models import Category
from adplatform.serving import pipeline
from tests import factories
from tests.serving import market as m

pytestmark = pytest.mark.django_db
BETTING, SHOES = "Bet on the cup", "Trail shoes"


@pytest.fixture
def market(serve: Any) -> m.Market:
    """A dear ad about betting and a cheap one about shoes, on one slot of a family site."""
    for category, bid, headline in (("betting", 900_000, BETTING), ("shoes", 300_000, SHOES)):
        m.ad(campaign={"category": category}, line_item={"bid_micros": bid}, headline=headline, body="")
    m.slot(public_id="top", site=factories.site(category="Family"))
    made: m.Market = serve()
    return made


def write(**fields: Any) -> OperatorRule:
    given = {
        "action": "forbid",
        "start_at": clock.now() - timedelta(minutes=1),
        "reason": "Not beside children",
    }
    row = OperatorRule(**given | fields)
    return rules.create(user=factories.operator(), rule=row, at=clock.now(), forecast={"changed": 0.1})


def shown(market: m.Market, ask: Any, times: int = 12) -> set[str]:
    """Headlines of what is shown to a dozen visitors, after the snapshot was built."""
    market.publish()
    ids = []
    for _ in range(times):
        reply = ask("POST", "/v1/decisions", {"placements": [{"id": "a", "slot": "top"}]}).json["placements"][
            "a"
        ]
        ids += [ad["creative_id"] for ad in reply["ads"]]
    return set(Creative.objects.filter(public_id__in=ids).values_list("headline", flat=True))


def test_the_actions_are_those_of_the_decision() -> None:
    assert set(OperatorRule.Action.values) == {action.value for action in RuleAction}


@pytest.mark.parametrize(
    "scope",
    [
        {"category": "Betting"},
        {"words": "poker, BET"},
        {"topic": "family", "category": "betting"},
        {"category": "gambling"},  # betting lies below it
        {"category": "luck", "least_related": 0.5},  # and is related to that
    ],
)
def test_a_rule_keeps_out_whom_it_names(market: m.Market, ask: Any, scope: dict[str, Any]) -> None:
    gambling, luck = (Category.objects.create(name=name) for name in ("gambling", "luck"))
    betting = Category.objects.create(name="betting", parent=gambling)
    relate(user=factories.operator(), one=luck, other=betting, weight=0.6)
    assert shown(market, ask) >= {BETTING}
    write(**scope)
    assert shown(market, ask) == {SHOES}


def test_refusals_are_counted_and_a_factor_is_recorded(market: m.Market, ask: Any, events: Any) -> None:
    write(category="betting")
    write(action="multiply", factor=2.5, category="shoes")
    assert shown(market, ask) == {SHOES}
    market.server.flush()
    pipeline.drain_all(events, None)
    decision = AdDecision.objects.first()
    assert decision is not None
    assert (decision.refused["rule_forbids"], decision.factor) == (1, 2.5)
    assert decision.price_micros <= decision.bid_micros


def test_stopping_it_lets_them_in_again_and_the_stop_can_be_undone(market: m.Market, ask: Any) -> None:
    rule = write(category="betting")
    assert shown(market, ask) == {SHOES}
    rules.stop(user=rule.created_by, rule=rule, at=clock.now())
    assert shown(market, ask) >= {BETTING}
    rules.resume(user=rule.created_by, rule=rule, at=clock.now())
    assert shown(market, ask) == {SHOES}
    actions = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["rule.created", "rule.stopped", "rule.resumed"]
    assert Outbox.objects.filter(payload__reason__startswith="rule.").count() == 3
    assert AuditEntry.objects.filter(organisation__isnull=False).count() == 0


def test_a_rule_that_ended_or_has_not_begun_holds_nobody(market: m.Market, ask: Any) -> None:
    write(category="betting", start_at=clock.now() + timedelta(hours=1))
    assert shown(market, ask) >= {BETTING}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Name at least one thing"),
        ({"category": "x", "reason": " "}, "Say why"),
        ({"category": "x", "words": " , "}, "divided by commas"),
        ({"category": "x", "action": "multiply"}, "changes nothing"),
        ({"category": "x", "end_at": clock.now() - timedelta(days=1)}, "has passed"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_nothing_is_kept(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(rules.RuleError, match=said):
        write(**fields)
    assert (OperatorRule.objects.count(), AuditEntry.objects.count(), Outbox.objects.count()) == (0, 0, 0)
