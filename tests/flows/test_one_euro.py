"""One euro, told from the advertiser's bank to the publisher's earnings, with the books checked at every step."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adplatform.billing import ledger, queries, services
from adplatform.billing.models import Posting
from adplatform.billing.reconciliation import reconcile
from adplatform.billing.verification import verify
from adplatform.campaigns.models import Budget
from adplatform.core import clock
from adplatform.events.models import Impression
from adplatform.jobs.models import JobRun
from adplatform.jobs.services import run
from adplatform.serving import pipeline
from tests import factories
from tests.serving import market as m

EURO = 1_000_000


@pytest.mark.django_db
def test_one_euro(serve, ask, monkeypatch) -> None:
    half_past = clock.now().replace(minute=30)  # all of it within one hour
    monkeypatch.setattr(clock, "now", lambda: half_past)
    # An advertiser pays in one euro. It buys impressions at 100.00 per thousand: ten cents each.
    advertiser = m.advertiser(currency="EUR", money_micros=0)
    publisher = factories.publisher(currency="EUR", revenue_share_bp=6_667)
    creative = m.ad(
        advertiser,
        campaign={"bid_strategy": "manual_cpm", "daily_budget_micros": 100 * EURO},
        line_item={"bid_micros": 100 * EURO, "pacing": "asap", "cap_impressions": None},
    )
    slot = m.slot(site_=factories.site(publisher, currency="EUR"), floor_micros=100 * EURO)
    services.deposit(advertiser, EURO, key="bank:2026-0001", at=clock.now(), memo="Bank transfer")
    assert queries.prepaid_balance(advertiser) == EURO

    # The server stops by itself when it has shown what a euro buys.
    market = serve()
    question = {"placements": [{"id": "a", "slot": slot.public_id}]}

    def view() -> list[dict[str, str]]:
        return ask("POST", "/v1/decisions", question).json["placements"]["a"]["ads"]

    ads = [view()[0] for _ in range(10)]
    assert view() == []
    market.publish()
    assert view() == []  # nothing is charged yet, but it may be
    # A Valkey that was lost knows nothing of that: it is shown twice more.
    market.hot.flushdb()
    for _ in range(2):  # a new epoch; it opens when the server has given up its leases of the old one
        market.publish()
    ads += [view()[0] for _ in range(2)]
    for url in (ad["impression_url"] for ad in ads):
        assert ask("GET", url[url.index("/", 8) :]).status == 200
    market.server.flush()
    pipeline.drain_all(market.events, market.hot)

    # The budget would allow all twelve, the money does not: ten are billed, two say why not. Nothing is left to serve.
    reasons = sorted(Impression.objects.values_list("reason", "charge_micros"))
    assert reasons == [("", 100_000)] * 10 + [("no_money", 0)] * 2
    assert queries.available(advertiser) == 0
    market.publish()
    empty = ask("POST", "/v1/decisions", question).json["placements"]["a"]
    assert (empty["ads"], empty["no_ad"]) == ([], "no_candidates")

    # The books do not hold it yet: the hour is not over.
    assert queries.prepaid_balance(advertiser) == EURO
    assert reconcile().totals["EUR"]["not_yet_settled"] == EURO

    # It ends, and the job settles it. Two thirds are the publisher's; the fraction of a micro stays with the platform.
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    slot_at = hour + timedelta(hours=1, minutes=5)
    settled = run("settle", slot=slot_at, at=slot_at, trigger=JobRun.Trigger.SCHEDULE)
    assert (settled.status, settled.summary) == ("succeeded", "€1.00 settled in 1 postings over 1 hours.")
    assert queries.prepaid_balance(advertiser) == 0
    assert (queries.earned_balance(publisher), queries.balance(ledger.revenue("EUR"))) == (666_700, 333_300)
    assert (
        sum(map(queries.balance, (ledger.cash("EUR"), ledger.earned(publisher), ledger.revenue("EUR")))) == 0
    )

    # Again changes nothing; every record of the euro says the same.
    services.settle(at=slot_at, everything=True)
    assert Posting.objects.count() == 2
    found = reconcile()
    assert (found.violations, found.totals["EUR"]) == (
        [],
        dict.fromkeys(("billable_events", "hourly_statistics", "settled", "ledger"), EURO)
        | {"not_yet_settled": 0, "not_yet_returned": 0},
    )
    assert set(
        Budget.objects.filter(campaign=creative.line_item.campaign).values_list("spent_micros", flat=True)
    ) == {EURO}
    assert verify().violations == []

    # Both sides read it in words.
    day = {"start": hour - timedelta(days=1), "end": hour + timedelta(days=1)}
    name = creative.line_item.campaign.name
    paid = queries.statement(ledger.prepaid(advertiser), **day)
    got = queries.statement(ledger.earned(publisher), **day)
    assert {(line.words, line.micros) for line in paid} == {
        ("Bank transfer", EURO),
        (f"Ads of {name}", -EURO),
    }
    assert [(line.words, line.micros) for line in got] == [
        (f"Ads in {slot.name} on {slot.site.name}", 666_700)
    ]

    # The traffic turns out to be invalid: the hour is taken back by its mirror image, and the euro can be spent again.
    ledger.reverse(Posting.objects.get(kind="settle"), effective_at=slot_at, memo="Invalid traffic")
    assert (queries.prepaid_balance(advertiser), queries.earned_balance(publisher)) == (EURO, 0)
    assert queries.granted([advertiser.pk]) == {advertiser.pk: 2 * EURO}
    assert verify().violations == []
    assert reconcile().violations == []
