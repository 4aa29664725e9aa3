"""A rule's effect is replayed over logged choice sets by the functions that decide: who gains, who loses, what it earns."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from adplatform.campaigns.models import Creative, OperatorRule
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.engine import decide
from adplatform.decision.types import Seen
from adplatform.events.models import AdDecision, Click, Impression
from adplatform.learning import ruling
from tests import factories
from tests.decision import factories as d
from tests.factories import NOON
from tests.learning import world

pytestmark = pytest.mark.django_db
UNTIL = NOON + ruling.LOOKBACK / 2
PCTR = (0.05, 0.05, 0.04)
BIDS = (600_000, 500_000, 600_000)
DECISIONS = 400


@pytest.fixture
def ads() -> list[Creative]:
    """Three advertisers with an ad each, in three categories."""
    return [
        factories.creative(
            factories.line_item(factories.campaign(category=category, name=f"Campaign {category}")),
            headline=headline,
            body="",
        )
        for category, headline in (
            ("gambling", "Play at our casino"),
            ("sports", "Trail shoes"),
            ("books", "Atlas"),
        )
    ]


@pytest.fixture
def slot() -> Any:
    return factories.slot(factories.site(category="Family"), floor_micros=100_000)


@pytest.fixture
def logged(ads: list[Creative], slot: Any) -> list[ruling.ReplayedSet]:
    """What the engine decided, with its choice sets, impressions and some clicks."""
    fixed = CandidateSet([world.candidate(ad, bid_micros=bid) for ad, bid in zip(ads, BIDS, strict=True)])
    place = replace(world.decision_slot(slot), floor_micros=100_000)
    scorer = d.TableScorer({ad.pk: (pctr, 0.5) for ad, pctr in zip(ads, PCTR, strict=True)})
    chance, decisions, shown, clicks = Random(5), [], [], []
    for number in range(DECISIONS):
        made = decide(
            request=d.request(place, at=NOON),
            candidates=fixed,
            seen=Seen(),
            scorer=scorer,
            rng=chance,
            epsilon=0.05,
            exploration_budget=0.3,
        )
        pick = made.picks[0]
        row = world._decision(ads[pick.row], slot, NOON, f"{number // 2:032x}")
        row.floor_micros, row.price_micros, row.choice_set = 100_000, pick.price_micros, _as_set(pick, ads)
        decisions.append(row)
        shown.append(world._event(Impression, row, NOON))
        if chance.random() < pick.pctr:
            clicks.append(world._event(Click, row, NOON))
    AdDecision.objects.bulk_create(decisions)
    Impression.objects.bulk_create(shown)
    Click.objects.bulk_create(clicks)
    return ruling.load(since=UNTIL - ruling.LOOKBACK, until=UNTIL)


def _as_set(pick: Any, ads: list[Creative]) -> dict[str, Any]:
    among = pick.among
    columns = {name: getattr(among, name).tolist() for name in ("worth", "pctr", "sd", "propensity")}
    return columns | {
        "creative": [ads[row].pk for row in among.rows.tolist()],
        "by_click": [True] * len(among.rows),
        "seed": among.seed,
        "epsilon": 0.05,
        "budget": 0.3,
    }


def rule(**fields: Any) -> OperatorRule:
    given = {"action": "forbid", "start_at": NOON, "reason": "A test"}
    return OperatorRule(**given | fields)


def test_the_replay_of_what_was_decided_is_what_was_decided(logged: list[ruling.ReplayedSet]) -> None:
    assert len(logged) == DECISIONS
    for one in logged:
        again = ruling._chosen(one, np.ones(3, np.bool_), None)
        assert again.probability == pytest.approx(one.before)
        assert again.price_micros == pytest.approx(one.price_micros, abs=1)


def test_a_forbidden_category_loses_its_share_to_the_others(ads: Any, logged: Any) -> None:
    found = ruling.forecast(rule(category="Gambling"), until=UNTIL)
    share = float(np.mean([one.before[one.creative.index(ads[0].pk)] for one in logged]))
    assert (found["sets"], found["touched"]) == (DECISIONS, DECISIONS)
    assert found["changed"] == pytest.approx(share)
    assert found["unfilled"] == pytest.approx(0)
    loser = found["advertisers"][-1]
    assert loser["name"] == ads[0].line_item.campaign.organisation.name
    assert (loser["before"], loser["after"]) == (pytest.approx(share), 0)
    assert sum(one["gain"] for one in found["advertisers"]) == pytest.approx(0)
    revenue, clicks = found["revenue"], found["clicks"]
    assert revenue["difference"][0] == pytest.approx(revenue["after"] - revenue["before"])
    assert revenue["difference"][2] < 0  # the best bidder is gone: surely less
    assert clicks["difference"][1] <= clicks["difference"][0] <= clicks["difference"][2]


def test_a_limit_is_a_mixture_of_with_and_without(logged: Any) -> None:
    whole = ruling.forecast(rule(category="gambling"), until=UNTIL)
    half = ruling.forecast(rule(action="limit", share_bp=5_000, category="gambling"), until=UNTIL)
    assert half["changed"] == pytest.approx(whole["changed"] / 2)
    assert half["revenue"]["difference"][0] == pytest.approx(whole["revenue"]["difference"][0] / 2)


def test_a_factor_moves_shares_and_never_raises_revenue_by_price(ads: Any, logged: Any) -> None:
    found = ruling.forecast(
        rule(action="multiply", factor=3.0, advertiser=ads[2].line_item.campaign.organisation), until=UNTIL
    )
    winner = found["advertisers"][0]
    assert winner["name"] == ads[2].line_item.campaign.organisation.name
    assert winner["gain"] > 0.2
    nothing = ruling.forecast(rule(action="multiply", factor=1.0, category="gambling"), until=UNTIL)
    assert (nothing["changed"], nothing["revenue"]["difference"][0]) == (
        pytest.approx(0, abs=1e-9),
        pytest.approx(0, abs=1),
    )


def test_words_sites_and_topics_are_looked_for(ads: Any, slot: Any, logged: Any) -> None:
    of_words = ruling.forecast(rule(words="casino, poker"), until=UNTIL)
    assert of_words["changed"] == pytest.approx(
        ruling.forecast(rule(category="gambling"), until=UNTIL)["changed"]
    )
    elsewhere = ruling.forecast(rule(words="casino", site=factories.site()), until=UNTIL)
    assert (elsewhere["touched"], elsewhere["changed"]) == (0, 0)
    assert ruling.forecast(rule(words="casino", topic="family"), until=UNTIL)["touched"] == DECISIONS


def test_who_forbids_everything_leaves_the_place_empty(slot: Any, logged: Any) -> None:
    found = ruling.forecast(rule(slot=slot), until=UNTIL)
    assert (found["changed"], found["unfilled"]) == (1.0, 1.0)
    assert found["revenue"]["after"] == 0
    assert found["clicks"] == {"refusal": "few"}  # nothing that was shown would be shown


def test_a_handful_of_choices_says_so() -> None:
    found = ruling.forecast(rule(category="gambling"), until=UNTIL)
    assert (found["sets"], found["refusal"]) == (0, "few")
