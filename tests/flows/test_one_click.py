"""One click, told from the ad to the money it costs and the sale that it brings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adplatform.campaigns.models import Budget, Purse
from adplatform.core import clock
from adplatform.events.models import Click, Conversion, HourlyStat, Impression
from adplatform.serving import pipeline
from tests import factories
from tests.serving import market as m


@pytest.mark.django_db
def test_one_click(serve, ask, monkeypatch) -> None:
    creative = m.ad(
        campaign={"bid_strategy": "manual_cpc"},
        line_item={"bid_micros": 500_000},
        landing_url="https://shop.example/shoes?from={click_id}",
    )
    owner = creative.line_item.campaign.organisation
    factories.conversion_action(owner, name="Purchase")
    slot = m.slot(floor_micros=1 * m.MICROS)
    market = serve()
    question = {"placements": [{"id": "a", "slot": slot.public_id}]}
    (ad,) = ask("POST", "/v1/decisions", question).json["placements"]["a"]["ads"]

    # The ad begins to render; three seconds later it is clicked, twice.
    assert ask("GET", _path(ad["impression_url"])).status == 200
    later = clock.now() + timedelta(seconds=3)
    monkeypatch.setattr(clock, "now", lambda: later)
    click = ask("GET", _path(ad["click_url"]))
    ask("GET", _path(ad["click_url"]))
    assert click.status == 302
    assert click.headers["Location"].startswith("https://shop.example/shoes?from=")

    # The shop reports a sale of 60.00 with the click id that it found in its URL.
    click_id = click.headers["Location"].partition("from=")[2]
    pixel = f"/e/conv?action=Purchase&event_id=order-7&value_micros=60000000&click_id={click_id}"
    assert ask("GET", pixel).status == 200

    market.server.flush()
    # A decision, an impression, two clicks, a pixel, and the count of what became of the ads.
    assert pipeline.drain_all(market.events, market.hot) == 6

    # One impression that costs nothing by itself, one click that costs its price, once.
    impression, stored = Impression.objects.get(), Click.objects.get()
    assert (impression.is_billable, impression.reason, impression.charge_micros) == (
        False,
        "paid_by_click",
        0,
    )
    assert (stored.is_billable, stored.reason) == (True, "")
    assert 0 < stored.charge_micros <= 500_000
    assert Purse.objects.get().spent_micros == stored.charge_micros
    assert set(Budget.objects.values_list("spent_micros", flat=True)) == {stored.charge_micros}

    # The sale belongs to the click.
    conversion = Conversion.objects.get()
    assert (conversion.attribution, conversion.decision_id.hex) == ("click", ad["decision_id"])
    (totals,) = HourlyStat.objects.values(
        "impressions", "clicks", "billable_clicks", "conversions", "spend_micros", "revenue_micros"
    )
    assert totals == {
        "impressions": 1,
        "clicks": 1,
        "billable_clicks": 1,
        "conversions": 1,
        "spend_micros": stored.charge_micros,
        "revenue_micros": 60_000_000,
    }


def _path(url: str) -> str:
    return url[url.index("/", 8) :]
