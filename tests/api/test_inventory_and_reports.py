"""Slots and numbers through the API: a publisher's own supply, and the same totals as on the pages."""

from __future__ import annotations

import csv
import io
from datetime import date

import pytest

from adplatform.insights import queries
from adplatform.insights.queries import Range
from tests import factories
from tests.api.calls import advertiser, publisher
from tests.factories import MICROS

pytestmark = pytest.mark.django_db
JUNE = "start=2026-06-01&end=2026-06-30"
RANGE = Range(date(2026, 6, 1), date(2026, 6, 30))


def test_a_slot_is_made_read_and_its_floor_changed() -> None:
    caller = publisher()
    site = factories.site(caller.organisation)
    answer = caller.post(
        f"sites/{site.public_id}/slots", {"name": "Top", "width": 728, "height": 90, "floor_micros": 500_000}
    )
    slot = answer.json()
    assert (answer.status_code, slot["site"], slot["floor_micros"], slot["format"]) == (
        201,
        site.public_id,
        500_000,
        "banner",
    )
    assert caller.patch(f"slots/{slot['public_id']}", {"floor_micros": 0}).json()["floor_micros"] == 0
    assert caller.get(f"slots/{slot['public_id']}").json()["name"] == "Top"
    assert caller.get(f"slots?site={site.public_id}").json()["count"] == 1
    assert caller.get("sites").json()["items"][0]["domain"] == site.domain
    twice = caller.post(f"sites/{site.public_id}/slots", {"name": "Top"})
    assert (twice.status_code, twice.json()["code"]) == (409, "name_taken")


def test_the_other_publishers_slots_do_not_exist() -> None:
    caller, slot = publisher(), factories.slot()
    assert caller.get("slots").json()["count"] == 0
    assert caller.get(f"slots/{slot.public_id}").status_code == 404
    assert caller.patch(f"slots/{slot.public_id}", {"floor_micros": 1}).status_code == 404
    assert caller.post(f"sites/{slot.site.public_id}/slots", {"name": "Mine"}).status_code == 404
    slot.refresh_from_db()
    assert slot.floor_micros == 0


@pytest.mark.parametrize("by", ["day", "campaign", "line_item", "creative", "site", "slot", "category"])
def test_an_advertisers_report_adds_up_to_the_totals_of_the_pages(by: str) -> None:
    caller = advertiser()
    for number in range(1, 4):
        creative = factories.creative(factories.line_item(factories.campaign(caller.organisation)))
        factories.hourly_stat(
            creative,
            impressions=100,
            clicks=number,
            spend_micros=number * MICROS,
            conversions=1,
            revenue_micros=5,
        )
    factories.hourly_stat(impressions=999, spend_micros=999)
    report = caller.get(f"reports?by={by}&{JUNE}").json()
    total = queries.totals(caller.organisation, RANGE)
    assert report["total"]["spend_micros"] == total.spend_micros == 6 * MICROS
    assert sum(row["spend_micros"] for row in report["rows"]) == total.spend_micros
    assert sum(row["clicks"] for row in report["rows"]) == report["total"]["clicks"] == 6
    assert report["total"]["ctr"] == 0.02
    file = b"".join(caller.get(f"reports.csv?by={by}&{JUNE}")).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(file)))
    assert sum(round(float(row["spend"]) * MICROS) for row in rows) == total.spend_micros
    assert {row[by] for row in rows} == {row["key"] for row in report["rows"]}


def test_a_publisher_is_told_earnings_and_not_what_advertisers_gain() -> None:
    caller = publisher()
    slot = factories.slot(factories.site(caller.organisation))
    factories.hourly_stat(
        None, slot, impressions=1_000, spend_micros=10 * MICROS, revenue_micros=99, conversions=1
    )
    report = caller.get(f"reports?by=slot&{JUNE}").json()
    assert (report["rows"][0]["key"], report["rows"][0]["earned_micros"], report["total"]["ecpm_micros"]) == (
        slot.public_id,
        7_000_000,
        7_000_000,
    )
    assert report["total"]["revenue_micros"] is None
    assert report["total"]["spend_micros"] is None
    refused = caller.get(f"reports?by=campaign&{JUNE}")
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_kind")


@pytest.mark.parametrize("asked", ["start=yesterday", "start=2026-06-30&end=2026-06-01", "by=moon"])
def test_a_report_that_cannot_be_made_says_why(asked: str) -> None:
    answer = advertiser().get(f"reports?{asked}")
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
