"""A sampled decision keeps its whole table; `explain` shows it, and its kept choice is made again bit for bit."""

from __future__ import annotations

import json
from io import StringIO
from random import Random
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from adplatform import settings
from adplatform.events.models import AdDecision
from adplatform.serving import choices, pipeline
from tests.serving import market as m

pytestmark = pytest.mark.django_db


def explain(decision: AdDecision | str, *options: str) -> str:
    out = StringIO()
    call_command("explain", str(getattr(decision, "decision_id", decision)), *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def decided(serve, ask, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forty decisions of a market with every kind of bid, all of them kept."""
    monkeypatch.setattr(settings, "CHOICE_SETS_LOGGED", 1.0)
    monkeypatch.setattr(choices, "TABLE_SHARE", 1.0)
    chance = Random(3)
    for number in range(12):
        strategy = ("manual_cpc", "manual_cpm", "maximise_clicks", "target_cpa")[number % 4]
        m.ad(
            campaign={"bid_strategy": strategy, "name": f"Campaign {number}"},
            line_item={"bid_micros": chance.randrange(200_000, 4_000_000)},
        )
    m.ad(line_item={"targeting": {"country": ["JP"]}})
    m.ad(campaign={"bid_strategy": "manual_cpm"}, line_item={"bid_micros": 10})
    slot = m.slot(floor_micros=50_000)
    market = serve()
    for number in range(40):
        body = {
            "placements": [{"id": "a", "slot": slot.public_id, "count": 1 + number % 3}],
            "user": {"id": f"reader {number % 5}", "consent": m.AGREED},
        }
        ask("POST", "/v1/decisions", body)
    market.server.flush()
    pipeline.drain_all(market.events, None)
    return market


def test_a_kept_choice_made_again_is_the_same_bit_for_bit(decided) -> None:
    rows = AdDecision.objects.filter(choice_set__isnull=False)
    assert rows.count() == 79  # 14 placements of one ad, 13 of two, 13 of three
    for row in rows:
        again = choices.chosen_again(row.choice_set, floor_micros=row.floor_micros, bid_micros=row.bid_micros)
        assert (again.creative_id, again.propensity, again.price_micros) == (
            row.creative_id,
            row.propensity,
            row.price_micros,
        )
    assert len(set(rows.values_list("creative_id", flat=True))) > 3  # exploring was part of it


def test_the_table_holds_every_ranked_ad_and_counts_the_others(decided) -> None:
    tables = [row for row in AdDecision.objects.all() if row.candidate_table]
    assert len(tables) == 40  # one per placement, not per ad
    for row in tables:
        ranked, refused = row.candidate_table["ranked"], row.candidate_table["refused"]
        assert len(ranked["creative"]) + sum(one["count"] for one in refused.values()) == row.candidates
        assert row.creative_id in [
            creative
            for creative, outcome in zip(ranked["creative"], ranked["outcome"], strict=True)
            if outcome == "won"
        ]
        assert refused["wrong_country"]["count"] == len(refused["wrong_country"]["creative"]) == 1
        assert "below_floor" in ranked["outcome"]
        assert "" not in ranked["outcome"]


def test_explain_tells_it_in_words_and_as_json(decided) -> None:
    row = next(row for row in AdDecision.objects.order_by("served_at") if row.candidate_table)
    text = explain(row)
    for words in ("shown: Campaign", "1 wrong_country", "outbid", "replayed from its seed: the same"):
        assert words in text
    told = json.loads(explain(row, "--json"))
    assert told["replayed"] is True
    assert told["table"]["ranked"][0]["outcome"] == "won"
    assert told["table"]["ranked"][0]["creative"] == row.creative_id


def test_what_is_not_kept_or_not_there_is_said(serve, ask, monkeypatch) -> None:
    monkeypatch.setattr(settings, "CHOICE_SETS_LOGGED", 0.0)
    m.ad(line_item={"targeting": {"country": ["JP"]}})
    slot = m.slot()
    market = serve()
    ask("POST", "/v1/decisions", {"placements": [{"id": "a", "slot": slot.public_id}]})
    market.server.flush()
    pipeline.drain_all(market.events, None)
    text = explain(AdDecision.objects.get())
    assert "no ad: wrong_country" in text
    assert "not in the sample" in text
    for id, words in (("nonsense", "is not a decision's id"), ("0" * 32, "is stored")):
        with pytest.raises(CommandError, match=words):
            explain(id)
